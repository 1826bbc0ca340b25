//! Topic Names, Topic Filters, and matching them.
//!
//! *Architecture invariant:* text in, verdicts out. This room knows no clients and no messages; the trees are generic
//! over what they hold. Everything is iterative and bounded: 65,535 slashes cost time, never stack.
//!
//! `filter.rs` says what a filter means; `tree.rs` (filters, asked with a name) and `names.rs` (names, asked with a filter)
//! say the same of many at once, both over `levels.rs`.

// Input decides nothing here by a panic or a lost bit. Lengths of what is in memory are added saturating: their sum never comes
// near the end of the numbers, and if it did, it would be longer than anything may be.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation, clippy::arithmetic_side_effects))]

pub mod filter;
mod levels;
pub mod names;
#[cfg(test)]
mod testing;
pub mod tree;
