//! A bounded map that forgets what was longest not asked for. Pure; for a few dozen entries.

/// Keeps the `capacity` entries asked for last.
#[derive(Debug)]
pub struct Recent<K, V> {
    capacity: usize,
    /// The one asked for last is last.
    entries: Vec<(K, V)>,
}

impl<K: PartialEq, V> Recent<K, V> {
    /// An empty map of at most so many entries (at least one).
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: Vec::new() }
    }

    /// The value of this key, which is now the one asked for last.
    pub fn get<Q: ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: PartialEq<Q>,
    {
        let at = self.entries.iter().position(|(kept, _)| kept == key)?;
        let entry = self.entries.remove(at);
        self.entries.push(entry);
        self.entries.last_mut().map(|(_, value)| value)
    }

    /// Takes a value; the one longest not asked for goes if there are too many.
    pub fn put(&mut self, key: K, value: V) -> &mut V {
        self.entries.retain(|(kept, _)| *kept != key);
        if self.entries.len() == self.capacity {
            self.entries.remove(0);
        }
        self.entries.push((key, value));
        &mut self.entries.last_mut().expect("an entry was just pushed").1
    }

    /// Forgets all entries whose key does not pass.
    pub fn retain(&mut self, mut stays: impl FnMut(&K) -> bool) {
        self.entries.retain(|(key, _)| stays(key));
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_longest_not_asked_for_goes() {
        let mut recent: Recent<String, u32> = Recent::new(2);
        recent.put("a".into(), 1);
        recent.put("b".into(), 2);
        assert_eq!(recent.get("a"), Some(&mut 1));
        recent.put("c".into(), 3);
        assert_eq!(recent.get("b"), None);
        assert_eq!(recent.get("a"), Some(&mut 1));
        recent.put("a".into(), 9);
        assert_eq!(recent.get("a"), Some(&mut 9));
        assert_eq!(recent.len(), 2);
        recent.retain(|key| key != "a");
        assert_eq!(recent.get("a"), None);
        assert_eq!(recent.len(), 1);
    }
}
