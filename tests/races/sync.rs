//! The locks and atomics of `src/sync.rs`, with a step of the scheduler before each operation.
//!
//! All tasks of a schedule run on one thread and change places only in such a step, so a plain lock that is free is taken,
//! and one that is not belongs to a task that was stopped while it held it. Outside a schedule they are what they are called.

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::atomic as plain;

pub use parking_lot::MutexGuard;
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
pub use plain::Ordering;
use shuttle::current::try_get_current_task;

/// The scheduler may let somebody else go on here.
fn step() {
    if try_get_current_task().is_some() {
        shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Takes what only another task can free.
fn take<G>(attempt: impl Fn() -> Option<G>, wait: impl Fn() -> G) -> G {
    step();
    loop {
        if let Some(guard) = attempt() {
            return guard;
        }
        if try_get_current_task().is_none() {
            return wait();
        }
        shuttle::thread::yield_now();
    }
}

#[derive(Debug, Default)]
pub struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        take(|| self.0.try_lock(), || self.0.lock())
    }
}

#[derive(Debug, Default)]
pub struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    pub fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        take(|| self.0.try_read(), || self.0.read())
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        take(|| self.0.try_write(), || self.0.write())
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty $(, $operation:ident)*) => {
        #[derive(Debug, Default)]
        pub struct $name(plain::$name);

        #[allow(dead_code, reason = "each of them has some uses")]
        impl $name {
            pub const fn new(value: $value) -> Self {
                Self(plain::$name::new(value))
            }

            pub fn load(&self, order: Ordering) -> $value {
                step();
                self.0.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            pub fn into_inner(self) -> $value {
                self.0.into_inner()
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.swap(value, order)
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(current, new, success, failure)
            }

            /// One operation, as it is for whoever looks on.
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                next: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                step();
                self.0.fetch_update(set, fetch, next)
            }

            $(pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.$operation(value, order)
            })*
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU32, u32, fetch_add);
atomic!(AtomicU64, u64, fetch_add, fetch_sub, fetch_max);
atomic!(AtomicUsize, usize, fetch_add, fetch_sub);

/// A map behind one lock: coarser than the real one, which locks the same key for as long.
#[derive(Debug)]
pub struct DashMap<K, V, S>(Mutex<HashMap<K, V>>, PhantomData<S>);

/// One key's place, locked.
pub enum Entry<'a, K, V> {
    Vacant(Place<'a, K, V>),
    Occupied(Place<'a, K, V>),
}

pub struct Place<'a, K, V> {
    map: MutexGuard<'a, HashMap<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V, S> DashMap<K, V, S> {
    pub fn with_hasher(_: S) -> Self {
        Self(Mutex::new(HashMap::new()), PhantomData)
    }

    pub fn entry(&self, key: K) -> Entry<'_, K, V> {
        let map = self.0.lock();
        let is_there = map.contains_key(&key);
        let place = Place { map, key };
        if is_there { Entry::Occupied(place) } else { Entry::Vacant(place) }
    }

    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.0.lock().insert(key, value)
    }

    pub fn remove_if(&self, key: &K, decide: impl FnOnce(&K, &V) -> bool) -> Option<(K, V)> {
        let mut map = self.0.lock();
        if map.get(key).is_some_and(|value| decide(key, value)) { map.remove_entry(key) } else { None }
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn capacity(&self) -> usize {
        self.0.lock().capacity()
    }

    pub fn shrink_to_fit(&self) {
        self.0.lock().shrink_to_fit();
    }
}

impl<K: Eq + Hash, V> Place<'_, K, V> {
    pub fn insert(mut self, value: V) {
        self.map.insert(self.key, value);
    }

    pub fn get(&self) -> &V {
        &self.map[&self.key]
    }

    pub fn get_mut(&mut self) -> &mut V {
        self.map.get_mut(&self.key).expect("an occupied place")
    }
}
