use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

struct Bench {
    auth: Auth,
    directory: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn options(&self) -> Options {
        let file = |name: &str| Some(self.directory.path().join(name)).filter(|file| file.exists());
        Options { password_file: file("passwords"), acl_file: file("acl") }
    }

    fn ask(&self, user: Option<&str>, password: Option<&str>) -> Admitted {
        let (sender, receiver) = mpsc::channel();
        let credentials = Credentials {
            client: "c1".into(),
            user_name: user.map(Box::from),
            password: password.map(|password| password.as_bytes().into()),
        };
        self.auth.authenticate(credentials, Box::new(move |answer| sender.send(answer).unwrap()));
        receiver.recv_timeout(Duration::from_secs(60)).expect("every question is answered")
    }
}

/// Alice's password is `secret`.
fn bench(acl: Option<&str>) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    set_password(&directory.path().join("passwords"), "alice", "secret").unwrap();
    if let Some(acl) = acl {
        std::fs::write(directory.path().join("acl"), acl).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let files = Files::read(&Options::default()).unwrap();
    let bench = Bench { auth: Auth::new(files, runtime.handle().clone()), directory, _runtime: runtime };
    bench.auth.replace(Files::read(&bench.options()).unwrap());
    bench
}

#[test]
fn a_right_password_is_let_in_and_everything_else_gets_the_same_refusal() {
    let bench = bench(None);
    let refused = Err(ReasonCode::BadUserNameOrPassword);
    assert_eq!(bench.ask(Some("alice"), Some("wrong")), refused);
    assert_eq!(bench.ask(Some("bob"), Some("secret")), refused);
    assert_eq!(bench.ask(Some("alice"), None), refused);
    assert_eq!(bench.ask(None, Some("secret")), refused);
    // The second time it is remembered, and a wrong one is still wrong.
    for _ in 0..2 {
        let (identity, permissions) = bench.ask(Some("alice"), Some("secret")).unwrap();
        assert_eq!(identity.user.as_deref(), Some("alice"));
        assert_eq!(*permissions, Permissions::everything());
    }
    assert_eq!(bench.ask(Some("alice"), Some("wrong")), refused);
}

#[test]
fn a_changed_or_deleted_user_is_not_remembered_after_a_reload() {
    let bench = bench(None);
    let (identity, _) = bench.ask(Some("alice"), Some("secret")).unwrap();
    let file = bench.directory.path().join("passwords");
    assert!(!set_password(&file, "alice", "changed").unwrap());
    bench.auth.replace(Files::read(&bench.options()).unwrap());
    assert!(bench.ask(Some("alice"), Some("secret")).is_err());
    assert!(bench.ask(Some("alice"), Some("changed")).is_ok());
    assert_eq!(*bench.auth.permissions(&identity, "c1"), Permissions::everything());
    delete_user(&file, "alice").unwrap();
    bench.auth.replace(Files::read(&bench.options()).unwrap());
    assert!(bench.ask(Some("alice"), Some("changed")).is_err());
    assert_eq!(bench.auth.permissions(&identity, "c1"), nothing());
    assert!(matches!(delete_user(&file, "alice"), Err(PasswdError::Unknown(_))));
}

#[test]
fn the_rules_of_the_acl_file_come_with_the_identity() {
    let bench = bench(Some("allow publish to/%u\nanonymous\nallow subscribe news\n"));
    let (identity, permissions) = bench.ask(Some("alice"), Some("secret")).unwrap();
    assert!(permissions.may_publish("to/alice") && !permissions.may_publish("to/bob"));
    assert_eq!(bench.auth.permissions(&identity, "c1"), permissions);
    let rules = bench.auth.rules(true);
    assert!(
        rules.allow_anonymous && rules.anonymous_may.may_receive("news") && !rules.anonymous_may.may_publish("news")
    );
    assert_eq!(rules.methods, ["SCRAM-SHA-256".into()]);
}

#[test]
fn without_a_password_file_a_name_counts_for_nothing_and_no_method_is_offered() {
    let bench = bench(None);
    bench.auth.replace(Files::read(&Options::default()).unwrap());
    assert_eq!(bench.ask(Some("alice"), Some("secret")).unwrap().0, Identity::default());
    assert!(bench.auth.rules(false).methods.is_empty());
    let answer = bench.auth.exchange(&mut None, "SCRAM-SHA-256", None, "c1");
    assert_eq!(answer, Challenge::Denied(ReasonCode::BadAuthenticationMethod));
}

/// A client's proof, made as RFC 5802 says, apart from the code under test.
fn client_final(password: &str, first_bare: &str, server_first: &str) -> String {
    use aws_lc_rs::{digest, hmac, pbkdf2};
    let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec();
    let part = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let mut salted = [0; 32];
    let salt = BASE64.decode(part("s=")).unwrap();
    let iterations = part("i=").parse().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
    let client_key = mac(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, &client_key);
    let without_proof = format!("c=biws,r={}", part("r="));
    let signature = mac(stored.as_ref(), format!("{first_bare},{server_first},{without_proof}").as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", BASE64.encode(proof))
}

fn exchange(bench: &Bench, user: &str, password: &str, empty_first: bool) -> Challenge {
    let mut state = None;
    let step = |state: &mut _, data: Option<&[u8]>| bench.auth.exchange(state, "SCRAM-SHA-256", data, "c1");
    if empty_first {
        assert_eq!(step(&mut state, None), Challenge::Continue(Box::default()));
    }
    let bare = format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL");
    let Challenge::Continue(reply) = step(&mut state, Some(format!("n,,{bare}").as_bytes())) else {
        panic!("the first message is answered by a salt")
    };
    let last = client_final(password, &bare, std::str::from_utf8(&reply).unwrap());
    step(&mut state, Some(last.as_bytes()))
}

#[test]
fn scram_proves_a_user_without_sending_the_password() {
    let bench = bench(None);
    for empty_first in [false, true] {
        let Challenge::Done(identity, _, Some(data)) = exchange(&bench, "alice", "secret", empty_first) else {
            panic!("the password is right")
        };
        assert_eq!(identity.user.as_deref(), Some("alice"));
        assert!(data.starts_with(b"v="));
    }
    assert_eq!(exchange(&bench, "alice", "wrong", false), Challenge::Denied(ReasonCode::NotAuthorized));
    assert_eq!(exchange(&bench, "bob", "secret", false), Challenge::Denied(ReasonCode::NotAuthorized));
    let unknown = bench.auth.exchange(&mut None, "PLAIN", None, "c1");
    assert_eq!(unknown, Challenge::Denied(ReasonCode::BadAuthenticationMethod));
}

#[test]
fn a_name_that_would_change_a_rule_is_refused_on_both_ways_in() {
    let bench = bench(Some("allow both user/%u\n"));
    set_password(&bench.directory.path().join("passwords"), "a/b", "secret").unwrap();
    bench.auth.replace(Files::read(&bench.options()).unwrap());
    assert_eq!(bench.ask(Some("a/b"), Some("secret")), Err(ReasonCode::NotAuthorized));
    assert_eq!(exchange(&bench, "a/b", "secret", false), Challenge::Denied(ReasonCode::NotAuthorized));
}

#[test]
fn the_password_file_is_private_and_a_wrong_line_is_named() {
    let bench = bench(None);
    let file = bench.directory.path().join("passwords");
    let mode = |file: &std::path::Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Files::read(&bench.options()).unwrap_err().to_string();
    assert!(error.contains("mode 644") && error.contains("chmod 600"), "{error}");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, format!("{good}bob\ncarol:plain\n\n# comment\nalice:{}\n", good.lines().last().unwrap()))
        .unwrap();
    let error = Files::read(&bench.options()).unwrap_err();
    assert_eq!(error.mistakes.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4, 7]);
    assert!(!error.to_string().contains("argon2id$"), "a mistake shows no hash: {error}");
    // A wrong file is not touched.
    assert!(set_password(&file, "dave", "secret").is_err());
}

#[test]
fn names_and_passwords_that_cannot_be_kept_are_refused() {
    let bench = bench(None);
    let file = bench.directory.path().join("passwords");
    for name in ["", "a:b", "#a", "a\n", " a"] {
        assert!(matches!(set_password(&file, name, "secret"), Err(PasswdError::Unusable(_))), "{name:?}");
    }
    for password in ["", "a\u{7}b"] {
        assert!(matches!(set_password(&file, "bob", password), Err(PasswdError::Unusable(_))), "{password:?}");
    }
}
