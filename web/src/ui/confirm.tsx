/** A question before what cannot be undone. */
import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';

interface Props {
  opened: boolean;
  title: string;
  children: ReactNode;
  /** The verb of the button, like "Delete 12 tasks". */
  action: string;
  color?: string;
  /** The text of the button that does nothing. */
  dismiss?: string;
  /** Runs the action, and returns whether it was done. If not, the dialog stays, with what was entered. */
  onConfirm: () => Promise<boolean>;
  onClose: () => void;
}

/** Asks, and waits for the action: a second click does nothing. The safe button has the focus. */
export function Confirm({
  opened,
  title,
  children,
  action,
  color = 'red',
  dismiss = 'Keep',
  onConfirm,
  onClose,
}: Props) {
  const [runs, setRuns] = useState(false);
  const confirm = async (): Promise<void> => {
    setRuns(true);
    try {
      if (await onConfirm()) onClose();
    } finally {
      setRuns(false);
    }
  };
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <Stack>
        <Text size="sm" component="div">
          {children}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            {dismiss}
          </Button>
          <Button color={color} loading={runs} onClick={() => void confirm()}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
