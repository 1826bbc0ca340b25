//! What the tests of both trees begin with.

use proptest::prelude::*;

/// Runs `work` where recursion along 65,535 levels would overflow.
pub(super) fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

/// A Topic Name, or a Topic Filter: levels that meet often.
pub(super) fn text(wildcards: bool) -> impl Strategy<Value = String> {
    let level = if wildcards { "(a|b|\\+|\\+|é|日|\\$s||ab)" } else { "(a|b|é|日|\\$s||ab)" };
    (prop::collection::vec(level, 1..5), prop::bool::weighted(0.3)).prop_filter_map("empty", move |(levels, multi)| {
        let text = levels.join("/") + if wildcards && multi { "/#" } else { "" };
        let text = if wildcards && multi && levels.len() == 1 { "#".to_owned() } else { text };
        (!text.is_empty()).then_some(text)
    })
}
