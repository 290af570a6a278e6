import { createTheme, virtualColor } from '@mantine/core';

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
  colors: { surface: virtualColor({ name: 'surface', light: 'gray', dark: 'dark' }) },
});
