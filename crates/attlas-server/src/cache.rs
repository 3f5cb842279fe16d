//! What was made, kept within a budget of bytes: what was not asked for the longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by their keys, cheap to clone.
pub struct Cache<K, V> {
    budget: usize,
    held: Mutex<Held<K, V>>,
}

struct Held<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The keys by when they were asked for last.
    order: BTreeMap<u64, K>,
    now: u64,
    n_bytes: usize,
}

struct Entry<V> {
    value: V,
    n_bytes: usize,
    asked: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Keeps up to `budget` bytes.
    pub fn new(budget: usize) -> Cache<K, V> {
        let held = Held { entries: HashMap::new(), order: BTreeMap::new(), now: 0, n_bytes: 0 };
        Cache { budget, held: Mutex::new(held) }
    }

    /// What is kept under `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        let held = &mut *self.lock();
        held.now += 1;
        let entry = held.entries.get_mut(key)?;
        held.order.remove(&entry.asked);
        held.order.insert(held.now, key.clone());
        entry.asked = held.now;
        Some(entry.value.clone())
    }

    /// Keeps a value of so many bytes; one that is larger than half of the budget is not kept.
    pub fn put(&self, key: K, value: V, n_bytes: usize) {
        if n_bytes > self.budget / 2 {
            return;
        }
        let held = &mut *self.lock();
        held.now += 1;
        held.remove(&key);
        while held.n_bytes + n_bytes > self.budget {
            let Some((_, oldest)) = held.order.pop_first() else { break };
            held.remove(&oldest);
        }
        held.order.insert(held.now, key.clone());
        held.entries.insert(key, Entry { value, n_bytes, asked: held.now });
        held.n_bytes += n_bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Held<K, V>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Held<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.asked);
            self.n_bytes -= entry.n_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_what_is_large_is_not_kept() {
        let cache = Cache::new(8);
        [1, 2, 3, 4].into_iter().for_each(|key| cache.put(key, key * 10, 2));
        assert_eq!(cache.get(&1), Some(10));
        cache.put(5, 50, 2);
        assert_eq!([1, 2, 3, 4, 5].map(|key| cache.get(&key)), [Some(10), None, Some(30), Some(40), Some(50)]);
        cache.put(6, 60, 5);
        assert_eq!(cache.get(&6), None);
        cache.put(7, 70, 4);
        assert_eq!([4, 5, 7].map(|key| cache.get(&key)), [Some(40), Some(50), Some(70)]);
        cache.put(1, 11, 1);
        assert_eq!(cache.get(&1), Some(11));
    }
}
