import { Loader, type MantineSize } from '@mantine/core';

interface Props {
  /** What is loaded, for those who do not see the spinner. */
  label?: string;
  size?: MantineSize;
}

/** A spinner in the place of what is not there yet. It has a role, without which a label is ignored. */
export function Loading({ label = 'Loading', size }: Props) {
  return <Loader role="status" aria-label={label} size={size} />;
}
