import {
  createTheme,
  type CSSVariablesResolver,
  Drawer,
  Modal,
  Notification,
  virtualColor,
} from '@mantine/core';

const SYSTEM = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif";
const MONOSPACE = "ui-monospace, SFMono-Regular, 'Cascadia Mono', Menlo, Consolas, monospace";

export const theme = createTheme({
  fontFamily: SYSTEM,
  fontFamilyMonospace: MONOSPACE,
  headings: { fontFamily: SYSTEM, fontWeight: '650' },
  primaryColor: 'blue',
  // Contrast of at least 4.5 to 1 for text on coloured buttons, in both schemes.
  primaryShade: { light: 8, dark: 8 },
  autoContrast: true,
  defaultRadius: 'md',
  components: {
    // A button without a text has a name for those who do not see it.
    Modal: Modal.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
    Drawer: Drawer.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
    Notification: Notification.extend({
      defaultProps: { closeButtonProps: { 'aria-label': 'Close' } },
      // Below a title, Mantine's own grey has less contrast.
      styles: { description: { color: 'var(--mantine-color-dimmed)' } },
    }),
  },
  colors: { surface: virtualColor({ name: 'surface', light: 'gray', dark: 'dark' }) },
});

/** Secondary text, and text on light badges and buttons, with a contrast of at least 4.5 to 1: Mantine's own has less. */
export const cssVariablesResolver: CSSVariablesResolver = ({ colors }) => ({
  variables: {},
  light: {
    '--mantine-color-dimmed': 'var(--mantine-color-gray-7)',
    '--mantine-color-placeholder': '#687078',
    '--mantine-color-error': 'var(--mantine-color-red-9)',
    ...Object.fromEntries(
      Object.keys(colors).map((name) => [
        `--mantine-color-${name}-light-color`,
        `color-mix(in srgb, var(--mantine-color-${name}-9) 65%, black)`,
      ]),
    ),
  },
  dark: {
    '--mantine-color-dimmed': '#9c9c9c',
    '--mantine-color-placeholder': '#9c9c9c',
    '--mantine-color-error': 'var(--mantine-color-red-5)',
    // Mantine's own greys are those of the surface on which they are.
    '--mantine-color-gray-filled': 'var(--mantine-color-gray-5)',
    '--mantine-color-gray-light': 'color-mix(in srgb, var(--mantine-color-gray-5) 22%, transparent)',
    '--mantine-color-gray-light-color': 'var(--mantine-color-gray-2)',
    '--mantine-color-dark-filled': 'var(--mantine-color-gray-7)',
    '--mantine-color-dark-light': 'color-mix(in srgb, var(--mantine-color-gray-7) 40%, transparent)',
    '--mantine-color-dark-light-color': 'var(--mantine-color-gray-2)',
  },
});
