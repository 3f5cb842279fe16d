// Which tokens two texts share: a longest common subsequence, found from both ends inwards.

/** Beyond so many pairs between the ends that agree, tokens are paired by the ends alone. */
const MOST_PAIRS = 4_000_000;

/** Pairs of places with equal labels, increasing on both sides. */
export function sharedPlaces(a: readonly string[], b: readonly string[]): [number, number][] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const first = Array.from({ length: start }, (_, place): [number, number] => [place, place]);
  const middle = commonOf(a.slice(start, a.length - end), b.slice(start, b.length - end)).map(([x, y]): [number, number] => [x + start, y + start]);
  const last = Array.from({ length: end }, (_, place): [number, number] => [a.length - end + place, b.length - end + place]);
  return [...first, ...middle, ...last];
}

/** A longest common subsequence; empty where there are too many pairs to look at. */
function commonOf(a: readonly string[], b: readonly string[]): [number, number][] {
  if (a.length * b.length > MOST_PAIRS) return [];
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width); // of what is left from each pair on
  for (let x = a.length - 1; x >= 0; x--) {
    for (let y = b.length - 1; y >= 0; y--) {
      lengths[x * width + y] = a[x] === b[y] ? lengths[(x + 1) * width + y + 1]! + 1 : Math.max(lengths[(x + 1) * width + y]!, lengths[x * width + y + 1]!);
    }
  }
  const pairs: [number, number][] = [];
  for (let [x, y] = [0, 0]; x < a.length && y < b.length; ) {
    if (a[x] === b[y]) pairs.push([x++, y++]);
    else if (lengths[(x + 1) * width + y]! >= lengths[x * width + y + 1]!) x++;
    else y++;
  }
  return pairs;
}
