/** The pages of the board: the navigation, the command palette and the routes are made from this list. */
import {
  IconActivity,
  IconList,
  IconPlus,
  IconServer,
  IconStack2,
  IconSubtask,
  type TablerIcon,
} from '@tabler/icons-react';
import type { ComponentType } from 'react';
import type { Scope } from '@/gql/graphql';
import { Overview } from '@/pages/overview/Overview';
import { lazyPart } from './lazyPart';

export interface Page {
  path: string;
  title: string;
  icon: TablerIcon;
  /** Without this scope the page is not offered. */
  scope: Scope;
  Component: ComponentType;
}

export const PAGES: readonly Page[] = [
  { path: '/', title: 'Overview', icon: IconActivity, scope: 'TASKS_READ', Component: Overview },
  {
    path: '/tasks',
    title: 'Tasks',
    icon: IconList,
    scope: 'TASKS_READ',
    Component: lazyPart(() => import('@/pages/tasks/Tasks')),
  },
  {
    path: '/create',
    title: 'Create',
    icon: IconPlus,
    scope: 'TASKS_CREATE',
    Component: lazyPart(() => import('@/pages/create/Create')),
  },
  {
    path: '/queues',
    title: 'Queues',
    icon: IconStack2,
    scope: 'OPERATE',
    Component: lazyPart(() => import('@/pages/queues/Queues')),
  },
  {
    path: '/workers',
    title: 'Workers',
    icon: IconServer,
    scope: 'OPERATE',
    Component: lazyPart(() => import('@/pages/workers/Workers')),
  },
  {
    path: '/definitions',
    title: 'Task definitions',
    icon: IconSubtask,
    scope: 'OPERATE',
    Component: lazyPart(() => import('@/pages/definitions/Definitions')),
  },
];

export const TaskPage = lazyPart(() => import('@/pages/task/Task'));
