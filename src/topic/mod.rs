//! Topic Names, Topic Filters, and matching them.
//!
//! *Architecture invariant:* text in, verdicts out. This room knows no clients and no messages; the trees are generic
//! over what they hold. Everything is iterative and bounded: 65,535 slashes cost time, never stack.

pub mod filter;
