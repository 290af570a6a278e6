import { LosslessNumber } from 'lossless-json';
import { describe, expect, it } from 'vitest';
import { compile } from './compile';
import { complete, placeAt } from './complete';
import { withLiteral, write } from './exact';
import { parse, valuesOf, withValues, writeMetadataText, writePath, writeText } from './syntax';

const NOW = Date.parse('2030-01-02T12:00:00Z');
const filterOf = (text: string) => compile(text, NOW).filter;

describe('the search bar as a filter', () => {
  it.each([
    ['', {}],
    ['status:failure,RETRY', { statuses: ['FAILURE', 'RETRY'] }],
    ['status:FAILURE status:RETRY', { statuses: ['FAILURE', 'RETRY'] }],
    ['name:"send mail" queue:mail', { names: ['send mail'], queues: ['mail'] }],
    ['error:ValueError', { errorTypes: ['ValueError'] }],
    ['id:a,b parent:c', { ids: ['a', 'b'], parentId: 'c' }],
    ['replayed:no', { isReplayed: false }],
    ['-replayed:NO', { NOT: { isReplayed: false } }],
    ['-name:a', { NOT: { names: ['a'] } }],
    ['-name:a -queue:b', { NOT: { names: ['a'] }, AND: [{ NOT: { queues: ['b'] } }] }],
    ['send_mail', { OR: [{ ids: ['send_mail'] }, { names: ['send_mail'] }] }],
    ['name:a:b', { names: ['a:b'] }],
  ])('%s', (text, filter) => {
    expect(compile(text, NOW)).toEqual({ filter, problems: [] });
  });

  it.each([
    ['metadata.customer.tier:gold', { path: 'customer.tier', eq: 'gold' }],
    ['metadata.n:>=3', { path: 'n', gte: 3 }],
    ['metadata.n:5', { path: 'n', in: [5, '5'] }],
    ['metadata.n:"5"', { path: 'n', eq: '5' }],
    ['metadata.n:1..2.5', { path: 'n', gte: 1, lte: 2.5 }],
    ['metadata.ok:true', { path: 'ok', in: [true, 'true'] }],
    ['metadata.sku:A-*', { path: 'sku', startsWith: 'A-' }],
    ['metadata.sku:"A-*"', { path: 'sku', eq: 'A-*' }],
    ['metadata.note:*', { path: 'note', exists: true }],
    ['metadata.tier:gold,silver', { path: 'tier', in: ['gold', 'silver'] }],
    ['metadata."a b.c".d:x', { path: 'a b\\.c.d', eq: 'x' }],
    ['METADATA.Tier:x', { path: 'Tier', eq: 'x' }],
    [
      'metadata.m:9007199254740993',
      { path: 'm', in: [new LosslessNumber('9007199254740993'), '9007199254740993'] },
    ],
    ['metadata.m:99999999999999999999', { path: 'm', eq: '99999999999999999999' }],
  ])('%s', (text, condition) => {
    expect(filterOf(text)).toEqual({ metadata: [condition] });
  });

  it('needs two conditions on one path to hold both, and alternatives to hold one', () => {
    expect(filterOf('metadata.n:>3 metadata.n:<9')).toEqual({
      metadata: [{ path: 'n', gt: 3 }],
      AND: [{ metadata: [{ path: 'n', lt: 9 }] }],
    });
    expect(filterOf('metadata.n:<1,>9')).toEqual({
      OR: [{ metadata: [{ path: 'n', lt: 1 }] }, { metadata: [{ path: 'n', gt: 9 }] }],
    });
  });

  it.each([
    ['created:<2h', { gte: '2030-01-02T10:00:00.000Z' }],
    ['created:2h', { gte: '2030-01-02T10:00:00.000Z' }],
    ['created:>1h', { lt: '2030-01-02T11:00:00.000Z' }],
    ['created:>=2030-01-01T10:00Z', { gte: '2030-01-01T10:00:00.000Z' }],
    ['created:>2030-01-01T10:00Z', { gte: '2030-01-01T10:01:00.000Z' }],
    ['created:<=2030-01-01T10:00:05+01:00', { lt: '2030-01-01T09:00:06.000Z' }],
    ['created:2030-01-01Z', { gte: '2030-01-01T00:00:00.000Z', lt: '2030-01-02T00:00:00.000Z' }],
    ['created:2d..1h', { gte: '2029-12-31T12:00:00.000Z', lt: '2030-01-02T11:00:00.000Z' }],
  ])('%s', (text, createdAt) => {
    expect(filterOf(text)).toEqual({ createdAt });
  });

  it('takes days in the zone of the browser', () => {
    const { createdAt } = filterOf('created:2030-01-01');
    expect(createdAt).toEqual({
      gte: new Date(2030, 0, 1).toISOString(),
      lt: new Date(2030, 0, 2).toISOString(),
    });
  });

  it.each([
    ['colour:red', '“colour:” is not a word of the search'],
    ['status:DONE', 'There is no status DONE'],
    ['created:soon', '“created:soon” is no time'],
    ['created:2030-99-99', 'is no time'],
    ['name:', '“name:” needs a value'],
    ['name:send_*', 'finds whole values only'],
    ['metadata.:x', 'Write the path too'],
    ['constructor:x', 'is not a word'],
  ])('%s is a problem, and the rest is the filter', (text, problem) => {
    const compiled = compile(`${text} queue:a`, NOW);
    expect(compiled.problems).toEqual([expect.stringContaining(problem)]);
    expect(compiled.filter).toEqual({ queues: ['a'] });
  });

  it('writes integers with all of their digits into the document', () => {
    const document = 'query Q($filter: TaskFilter!) { tasks(filter: $filter) { totalCount } }';
    const written = write({ statuses: ['FAILURE'], ...filterOf('metadata.m:>9007199254740993') });
    expect(written.filter).toEqual({});
    expect(withLiteral(document, written)).toContain(
      'tasks(filter: {AND: [$filter, {statuses: [FAILURE], metadata: [{path: "m", gt: 9007199254740993}]}]})',
    );
    const plain = write(filterOf('metadata.n:5'));
    expect(withLiteral(document, plain)).toBe(document);
  });
});

describe('the text of the search bar', () => {
  it.each(['two words', 'a,b', 'say "hi"', 'back\\slash', '', 'x:y', '-a'])(
    'reads %j back as it was',
    (text) => {
      expect(parse(`name:${writeText(text)}`)[0]?.values).toEqual(
        text === '' ? [{ text, isQuoted: true }] : [expect.objectContaining({ text })],
      );
    },
  );

  it.each(['5', 'true', '>3', 'a*', '1..2', 'gold'])('compares the metadata with the text %j', (text) => {
    expect(filterOf(`metadata.x:${writeMetadataText(text)}`)).toEqual({
      metadata: [{ path: 'x', eq: text }],
    });
  });

  it.each(['customer.tier', 'a\\.b.c', 'two words.x', 'a:b', 'q"q'])(
    'reads the path %j back as it was',
    (path) => {
      expect(parse(`${writePath(path)}:1`)[0]?.path).toBe(path);
    },
  );

  it('replaces the values of a word, and leaves the rest as it is', () => {
    const text = 'status:FAILURE name:"a  b" -status:RETRY status:QUEUED';
    expect(valuesOf(text, 'status')).toEqual(['FAILURE', 'QUEUED']);
    expect(withValues(text, 'status', ['SUCCESS'])).toBe('status:SUCCESS name:"a  b" -status:RETRY');
    expect(withValues(text, 'status', [])).toBe('name:"a  b" -status:RETRY');
    expect(withValues('name:a', 'status', ['A', 'B'])).toBe('name:a status:A,B');
  });
});

describe('completion', () => {
  it.each([
    ['sta', 3, { wants: 'word', typed: 'sta', start: 0, end: 3 }],
    ['-sta', 4, { wants: 'word', typed: 'sta', start: 1, end: 4 }],
    ['status:FA', 9, { wants: 'value', key: 'status', typed: 'FA', start: 7, end: 9 }],
    ['status:A,B name:x', 10, { wants: 'value', typed: 'B', start: 9, end: 10, rest: 'name:x' }],
    ['metadata.cust', 13, { wants: 'path', typed: 'cust', start: 0, end: 13 }],
    ['metadata.a.b:', 13, { wants: 'value', key: 'metadata', path: 'a.b', typed: '' }],
    ['name:x ', 7, { wants: 'word', typed: '', start: 7, end: 7 }],
  ])('%s at %d', (text, caret, place) => {
    expect(placeAt(text, caret)).toMatchObject(place);
  });

  it('replaces what was typed, and goes on behind it', () => {
    expect(complete('name:a status:FA', placeAt('name:a status:FA', 16), 'FAILURE')).toEqual({
      text: 'name:a status:FAILURE ',
      caret: 22,
    });
    expect(complete('sta:x', placeAt('sta:x', 2), 'status:')).toEqual({ text: 'status:x', caret: 7 });
  });
});
