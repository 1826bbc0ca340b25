//! Topic Names, Topic Filters, and matching them.
//!
//! *Architecture invariant:* text in, verdicts out. This room knows no clients and no messages; the trees are generic
//! over what they hold. Everything is iterative and bounded: 65,535 slashes cost time, never stack.
//!
//! `filter.rs` says what a filter means; `tree.rs` (filters, asked with a name) and `names.rs` (names, asked with a filter)
//! say the same of many at once, both over `levels.rs`.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation))]

pub mod filter;
mod levels;
pub mod names;
#[cfg(test)]
mod testing;
pub mod tree;
