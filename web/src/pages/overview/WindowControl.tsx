import { SegmentedControl, Text } from '@mantine/core';
import { type ChosenWindow, WINDOWS } from './windows';

const CHOICES = WINDOWS.map(({ id, label }) => ({ value: id, label }));

export function WindowControl({ window, unknown, choose }: ChosenWindow) {
  return (
    <div>
      <SegmentedControl
        aria-label="Window of time"
        size="xs"
        data={CHOICES}
        value={window.id}
        onChange={choose}
      />
      {unknown !== null && (
        <Text size="sm" role="alert">
          There is no window “{unknown}”: this is the {window.words}.
        </Text>
      )}
    </div>
  );
}
