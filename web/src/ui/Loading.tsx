import { Loader, type MantineSize } from '@mantine/core';

interface Props {
  /** The text that screen readers read. */
  label?: string;
  size?: MantineSize;
}

/** A spinner in the place of contents that are being loaded. Without the role, screen readers ignore the label. */
export function Loading({ label = 'Loading', size }: Props) {
  return <Loader role="status" aria-label={label} size={size} />;
}
