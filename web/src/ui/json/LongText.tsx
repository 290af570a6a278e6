import { Button } from '@mantine/core';
import { useState } from 'react';

const FIRST = 500;
const PART = 20_000;

interface Props {
  text: string;
  className?: string;
  /** How many characters are shown at first. */
  first?: number;
}

/** A text of any length: a long one is shown a part at a time. */
export function LongText({ text, className, first = FIRST }: Props) {
  const [shown, setShown] = useState(first);
  // A cut between the two halves of a character would show neither.
  const end = /[\uD800-\uDBFF]/.test(text[shown - 1] ?? '') ? shown + 1 : shown;
  const left = text.length - end;
  return (
    <span className={className}>
      {text.slice(0, end)}
      {left > 0 && (
        <>
          …{' '}
          <Button size="compact-xs" variant="light" onClick={() => setShown(end + PART)}>
            Show {Math.min(PART, left).toLocaleString('en')} of {left.toLocaleString('en')} more characters
          </Button>
        </>
      )}
    </span>
  );
}
