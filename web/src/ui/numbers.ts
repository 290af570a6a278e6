/** Numbers as people read them. */

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** Returns a count with a comma between thousands. */
export const countText = (count: number): string => WHOLE.format(count);

/** Returns "1 task", "12,000 tasks". */
export const tasksText = (count: number): string => `${countText(count)} ${count === 1 ? 'task' : 'tasks'}`;
