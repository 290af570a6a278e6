/** The search bar. What is typed becomes the address with Enter, or with a completed value. */
import { ActionIcon, Combobox, Group, Text, TextInput, useCombobox } from '@mantine/core';
import { IconCornerDownLeft, IconHelp, IconSearch, IconX } from '@tabler/icons-react';
import { type KeyboardEvent, type RefObject, useEffect, useEffectEvent, useState } from 'react';
import { complete, placeAt } from './complete';
import { type Suggestion, useSuggestions } from './useSuggestions';

export interface Begun {
  query: string;
  text: string;
}

interface Props {
  /** The text in the address. */
  query: string;
  /** A text that somebody has begun with a button; it belongs to the address of that moment. */
  begun: Begun | null;
  onSearch: (query: string) => void;
  onHelp: () => void;
  input: RefObject<HTMLInputElement | null>;
}

export function SearchBar({ query, begun, onSearch, onHelp, input }: Props) {
  const draft = useDraft(query);
  const combobox = useCombobox({ onDropdownClose: () => combobox.resetSelectedOption() });
  const place = placeAt(draft.text, draft.caret);
  const { items, problem } = useSuggestions(place, combobox.dropdownOpened);

  const begin = useEffectEvent(({ text }: Begun) => {
    draft.set(text, text.length);
    combobox.openDropdown();
    // The menu gives the focus back to its button first.
    setTimeout(() => input.current?.focus(), 50);
  });
  useEffect(() => {
    if (begun) begin(begun);
  }, [begun]);

  const search = (text: string): void => {
    combobox.closeDropdown();
    if (text.trim() !== query) onSearch(text.trim());
  };
  const clear = (): void => {
    draft.set('', 0);
    search('');
  };
  const pick = ({ written }: Suggestion): void => {
    const completed = complete(draft.text, place, written);
    draft.set(completed.text, completed.caret);
    if (place.wants === 'value' || written.endsWith(' ')) search(completed.text);
    else combobox.openDropdown();
    requestAnimationFrame(() => {
      input.current?.focus();
      input.current?.setSelectionRange(completed.caret, completed.caret);
    });
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const selected = combobox.getSelectedOptionIndex();
    const first = items[Math.max(0, selected)];
    if (event.key === 'Tab' && !event.shiftKey && combobox.dropdownOpened && first && place.typed) {
      event.preventDefault();
      pick(first);
    } else if (event.key === 'Enter' && (!combobox.dropdownOpened || selected < 0)) {
      search(draft.text);
    } else if (event.key === 'Escape' && !combobox.dropdownOpened) {
      input.current?.blur();
    }
  };

  return (
    <Combobox
      store={combobox}
      onOptionSubmit={(index) => {
        const item = items[Number(index)];
        if (item) pick(item);
      }}
    >
      <Combobox.Target>
        <TextInput
          ref={input}
          aria-label="Search tasks"
          placeholder="status:FAILURE name:send_mail metadata.customer.tier:gold"
          value={draft.text}
          spellCheck={false}
          autoCapitalize="off"
          leftSection={<IconSearch size={16} />}
          rightSectionWidth={92}
          rightSection={
            <Group gap={2} wrap="nowrap" w="100%" justify="flex-end" pr={6}>
              {draft.text.trim() !== query && (
                <ActionIcon variant="filled" aria-label="Search" onClick={() => search(draft.text)}>
                  <IconCornerDownLeft size={16} />
                </ActionIcon>
              )}
              {draft.text !== '' && (
                <ActionIcon variant="subtle" color="gray" aria-label="Clear the search" onClick={clear}>
                  <IconX size={16} />
                </ActionIcon>
              )}
              <ActionIcon variant="subtle" color="gray" aria-label="How to search" onClick={onHelp}>
                <IconHelp size={16} />
              </ActionIcon>
            </Group>
          }
          onChange={({ currentTarget: { value, selectionStart } }) => {
            draft.set(value, selectionStart ?? value.length);
            combobox.openDropdown();
            combobox.resetSelectedOption();
          }}
          onSelect={({ currentTarget: { selectionStart } }) => draft.move(selectionStart ?? 0)}
          onClick={() => combobox.openDropdown()}
          onKeyDown={onKeyDown}
        />
      </Combobox.Target>
      <Combobox.Dropdown hidden={items.length === 0 && problem === null}>
        <Combobox.Options mah={320} style={{ overflowY: 'auto' }} aria-label="Completions">
          {items.map((item, index) => (
            <Combobox.Option key={item.written} value={String(index)}>
              <Group justify="space-between" wrap="nowrap">
                <Text size="sm" truncate>
                  {item.label}
                </Text>
                <Text size="xs" c="dimmed" flex="none">
                  {item.hint}
                </Text>
              </Group>
            </Combobox.Option>
          ))}
        </Combobox.Options>
        {problem !== null && <Combobox.Footer>{`Values could not be loaded: ${problem}`}</Combobox.Footer>}
      </Combobox.Dropdown>
    </Combobox>
  );
}

/** What is typed, until the address changes: then the address wins. */
function useDraft(query: string) {
  const [state, setState] = useState({ query, text: query, caret: query.length });
  const draft = state.query === query ? state : { query, text: query, caret: query.length };
  return {
    ...draft,
    set: (text: string, caret: number) => setState({ query, text, caret }),
    move: (caret: number) => caret !== draft.caret && setState({ ...draft, caret }),
  };
}
