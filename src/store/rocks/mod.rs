//! The store on RocksDB.

mod layout;
