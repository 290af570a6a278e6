/** The board: access, then the pages. All state of a page is in the hash of the address, which no server sees. */
import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { createHashRouter, RouterProvider } from 'react-router';
import { Access } from '@/access/Access';
import { cssVariablesResolver, theme } from '@/theme';
import { CrashedPage } from './CrashedPage';
import { Layout } from './Layout';
import { NoSuchPage } from './NoSuchPage';
import { PAGES, TaskPage } from './pages';

const router = createHashRouter([
  {
    element: <Layout />,
    children: [
      {
        errorElement: <CrashedPage />,
        children: [
          ...PAGES.map(({ path, Component }) => ({ path, element: <Component /> })),
          { path: '/tasks/:id', element: <TaskPage /> },
          { path: '*', element: <NoSuchPage /> },
        ],
      },
    ],
  },
]);

export function App() {
  return (
    <MantineProvider theme={theme} cssVariablesResolver={cssVariablesResolver} defaultColorScheme="auto">
      <Notifications position="bottom-right" />
      <Access>
        <RouterProvider router={router} />
      </Access>
    </MantineProvider>
  );
}
