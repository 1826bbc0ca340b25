//! The ACL file: rules who may publish and subscribe where.
//!
//! ```text
//! # Rules before the first heading are for everyone.
//! deny both internal/#
//! user alice
//! allow publish biz/order/#
//! anonymous
//! allow subscribe public/#
//! everyone
//! allow both biz/+/user/%u/#
//! ```
//!
//! A client's rules are those under the headings that fit it, in the order of the file; the first that fits decides,
//! and what none allows is denied. `%u` is the user name and `%c` the Client Identifier.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::FileError;
use crate::access::{Action, Permissions, Rule};
use crate::mqtt::ReasonCode;
use crate::topic::filter::TopicFilter;

/// Levels of a filter in a rule.
const LEVELS_MAX: usize = 65_536;
const USER: &str = "%u";
const CLIENT: &str = "%c";

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Everyone,
    Anonymous,
    User(Box<str>),
}

impl Who {
    fn fits(&self, user: Option<&str>) -> bool {
        match self {
            Who::Everyone => true,
            Who::Anonymous => user.is_none(),
            Who::User(name) => user == Some(&**name),
        }
    }
}

#[derive(Debug)]
struct Line {
    who: Who,
    rule: Rule,
}

/// A whole file, checked.
#[derive(Debug)]
pub(super) struct Acl {
    lines: Vec<Line>,
    /// What those may do whose rules have no placeholder, shared by all their connections: users with a heading of
    /// their own, all other users, and anonymous clients. `None` where a placeholder has to be filled in for each
    /// connection.
    named: HashMap<Box<str>, Option<Arc<Permissions>>>,
    unnamed: Option<Arc<Permissions>>,
    anonymous: Option<Arc<Permissions>>,
}

impl Acl {
    /// Reads and checks an ACL file.
    pub(super) fn read(file: &Path) -> Result<Self, FileError> {
        let wrong = |mistakes| FileError { file: file.to_owned(), mistakes };
        let text =
            std::fs::read_to_string(file).map_err(|error| wrong(vec![(0, format!("cannot be read: {error}"))]))?;
        Self::parse(&text).map_err(wrong)
    }

    /// Checks the text of an ACL file.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<(usize, String)>> {
        let (mut lines, mut mistakes, mut who) = (Vec::new(), Vec::new(), Who::Everyone);
        for (number, line) in text.lines().enumerate() {
            match parse_line(line) {
                Ok(Parsed::Nothing) => {}
                Ok(Parsed::Heading(heading)) => who = heading,
                Ok(Parsed::Rule(rule)) => lines.push(Line { who: who.clone(), rule }),
                Err(why) => mistakes.push((number + 1, why)),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut acl = Self { lines, named: HashMap::new(), unnamed: None, anonymous: None };
        let names =
            acl.lines.iter().filter_map(|line| if let Who::User(name) = &line.who { Some(name.clone()) } else { None });
        acl.named = names.map(|name| (name.clone(), acl.shared(Some(&name)))).collect();
        // No heading can have this name, because headings are trimmed.
        acl.unnamed = acl.shared(Some(" "));
        acl.anonymous = acl.shared(None);
        Ok(acl)
    }

    /// What this client may do; `user` is `None` for an anonymous one, `client` empty where the broker assigns it.
    ///
    /// # Errors
    /// Filled in, one of the names would change what a rule means: `NotAuthorized` for the user name,
    /// `ClientIdentifierNotValid` for the Client Identifier.
    pub(super) fn permissions(&self, user: Option<&str>, client: &str) -> Result<Arc<Permissions>, ReasonCode> {
        let shared = match user {
            None => self.anonymous.as_ref(),
            Some(name) => self.named.get(name).map_or(self.unnamed.as_ref(), Option::as_ref),
        };
        match shared {
            Some(permissions) => Ok(Arc::clone(permissions)),
            None => {
                let rules =
                    self.rules(user).filter_map(|rule| filled(rule, user.unwrap_or_default(), client).transpose());
                Ok(Arc::new(Permissions::new(rules.collect::<Result<_, _>>()?, false)))
            }
        }
    }

    fn rules<'a>(&'a self, user: Option<&'a str>) -> impl Iterator<Item = &'a Rule> {
        self.lines.iter().filter(move |line| line.who.fits(user)).map(|line| &line.rule)
    }

    fn shared(&self, user: Option<&str>) -> Option<Arc<Permissions>> {
        let filled_in = |rule: &Rule| rule.filter.contains(USER) || rule.filter.contains(CLIENT);
        if self.rules(user).any(filled_in) {
            return None;
        }
        Some(Arc::new(Permissions::new(self.rules(user).cloned().collect(), false)))
    }
}

enum Parsed {
    Nothing,
    Heading(Who),
    Rule(Rule),
}

fn parse_line(line: &str) -> Result<Parsed, String> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("", _) => Ok(Parsed::Nothing),
        (word, _) if word.starts_with('#') => Ok(Parsed::Nothing),
        ("everyone", "") => Ok(Parsed::Heading(Who::Everyone)),
        ("anonymous", "") => Ok(Parsed::Heading(Who::Anonymous)),
        ("user", name) if !name.is_empty() => Ok(Parsed::Heading(Who::User(name.into()))),
        ("allow" | "deny", rest) => parse_rule(word == "allow", rest).map(Parsed::Rule),
        _ => Err(format!(
            "expected `user NAME`, `anonymous`, `everyone`, or `allow|deny publish|subscribe|both FILTER`, found `{line}`"
        )),
    }
}

fn parse_rule(allow: bool, text: &str) -> Result<Rule, String> {
    let (action, filter) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let action = match action {
        "publish" => Some(Action::Publish),
        "subscribe" => Some(Action::Subscribe),
        "both" => None,
        other => return Err(format!("expected publish, subscribe or both, found `{other}`")),
    };
    let filter = filter.trim();
    let parsed =
        TopicFilter::parse(filter, LEVELS_MAX).map_err(|error| format!("`{filter}` is not a Topic Filter {error}"))?;
    if parsed.share.is_some() {
        return Err("a rule is about the filter behind $share/ShareName/, which covers every ShareName".to_owned());
    }
    Ok(Rule { allow, action, filter: filter.into() })
}

/// The rule with its placeholders filled in; `None` where one has no value and the rule allows: what is not there is
/// not allowed. A rule that denies keeps its meaning for every value instead.
fn filled(rule: &Rule, user: &str, client: &str) -> Result<Option<Rule>, ReasonCode> {
    let mut levels = Vec::new();
    for level in rule.filter.split('/') {
        let (of_user, of_client) = (level.contains(USER), level.contains(CLIENT));
        if of_user && user.is_empty() || of_client && client.is_empty() {
            if rule.allow {
                return Ok(None);
            }
            levels.push("+".to_owned());
            continue;
        }
        if of_user && !harmless(user) {
            return Err(ReasonCode::NotAuthorized);
        }
        if of_client && !harmless(client) {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        levels.push(fill(level, user, client));
    }
    Ok(Some(Rule { allow: rule.allow, action: rule.action, filter: levels.join("/").into() }))
}

/// Both placeholders in one pass, so that a user named `%c` stays one.
fn fill(level: &str, user: &str, client: &str) -> String {
    let mut text = String::with_capacity(level.len() + user.len() + client.len());
    let mut rest = level;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let (value, width) = match from.get(..2) {
            Some(USER) => (user, 2),
            Some(CLIENT) => (client, 2),
            _ => ("%", 1),
        };
        text.push_str(value);
        rest = from.get(width..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// Whether a value put into a filter stays one part of one level: no wildcard, no further level, no topic of the broker
/// itself.
fn harmless(value: &str) -> bool {
    !value.starts_with('$') && !value.chars().any(|c| matches!(c, '+' | '#' | '/') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# staff
deny both internal/#
user alice
  allow publish biz/order/#
  deny subscribe biz/secret/#
  allow subscribe biz/#
anonymous
allow subscribe public/with space/#
everyone
allow both biz/+/user/%u/#
allow publish device-%c/state
deny subscribe inbox/%c/x
allow subscribe inbox/#
";

    fn may(user: Option<&str>, client: &str) -> Arc<Permissions> {
        Acl::parse(FILE).unwrap().permissions(user, client).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_what_none_allows_is_denied() {
        let alice = may(Some("alice"), "c1");
        assert!(alice.may_publish("biz/order/1") && !alice.may_publish("biz/other"));
        assert!(alice.may_receive("biz/other") && !alice.may_receive("biz/secret/1"));
        assert!(!alice.may_publish("internal/x") && !alice.may_publish("public/with space/x"));
        assert!(alice.may_publish("device-c1/state") && !alice.may_publish("device-c2/state"));
        assert!(!alice.may_receive("inbox/c1/x") && alice.may_receive("inbox/c1/y") && alice.may_receive("inbox/c2/x"));
        let bob = may(Some("bob"), "c1");
        assert!(!bob.may_publish("biz/order/1"));
        assert!(bob.may_publish("biz/order/user/bob/1") && !bob.may_publish("biz/order/user/alice/1"));
    }

    #[test]
    fn without_a_value_an_allowing_rule_vanishes_and_a_denying_one_covers_all() {
        let nobody = may(None, "");
        assert!(nobody.may_receive("public/with space/x"));
        assert!(!nobody.may_publish("biz/order/user//x") && !nobody.may_publish("device-/state"));
        assert!(!nobody.may_receive("inbox/anything/x") && nobody.may_receive("inbox/anything/y"));
    }

    #[test]
    fn a_name_that_would_change_the_meaning_of_a_rule_is_refused() {
        let acl = Acl::parse(FILE).unwrap();
        for name in ["+", "#", "a/b", "a\0", "a\u{7}", "$SYS"] {
            assert_eq!(acl.permissions(Some(name), "c1"), Err(ReasonCode::NotAuthorized), "{name}");
            assert_eq!(acl.permissions(Some("bob"), name), Err(ReasonCode::ClientIdentifierNotValid), "{name}");
        }
        let plain = Acl::parse("allow both a/#\n").unwrap();
        assert!(plain.permissions(Some("a/b"), "+").is_ok(), "no rule uses the names");
        assert!(may(Some("%c"), "x").may_publish("biz/a/user/%c/1"));
        assert!(!may(Some("%c"), "x").may_publish("biz/a/user/x/1"));
    }

    #[test]
    fn an_empty_file_denies_everything() {
        let permissions = Acl::parse("").unwrap().permissions(Some("alice"), "c").unwrap();
        assert!(!permissions.may_publish("a") && !permissions.may_subscribe("a") && !permissions.may_receive("a"));
    }

    #[test]
    fn clients_without_placeholders_in_their_rules_share_them() {
        let acl = Acl::parse("user alice\nallow both a/%u\neveryone\nallow both b\n").unwrap();
        let of = |user, client| acl.permissions(user, client).unwrap();
        assert!(Arc::ptr_eq(&of(Some("bob"), "1"), &of(Some("carol"), "2")));
        assert!(!Arc::ptr_eq(&of(Some("alice"), "1"), &of(Some("alice"), "1")));
    }

    #[test]
    fn every_wrong_line_is_named() {
        let text = "allow\nallow eat a\nallow both a/#/b\nuser\nallow both $share/g/a\npermit both a\nallow both a\nallow both\n";
        let lines: Vec<usize> = Acl::parse(text).unwrap_err().into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6, 8]);
    }
}
