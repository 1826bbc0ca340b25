use std::ffi::OsString;

use super::file::{Initial, Kind, Reload, SETTINGS};
use super::*;
use crate::net;
use crate::store::{Level, TopicLevels};

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    load_text("test.toml", text, environment.into_iter())
}

fn load(text: &str) -> Result<Config, Mistakes> {
    load_with(text, &[])
}

fn mistakes(text: &str) -> Vec<String> {
    load(text).expect_err("the text is wrong").to_string().lines().map(str::to_owned).collect()
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = load("").unwrap();
    let listens = |l: &Listener| (l.endpoint.kind, l.endpoint.addr.to_string(), l.allow_anonymous);
    let listens: Vec<_> = config.listeners.iter().map(listens).collect();
    assert!(listens.contains(&(net::Kind::Mqtt, "127.0.0.1:1883".to_owned(), true)));
    assert!(listens.contains(&(net::Kind::Ws, "127.0.0.1:8083".to_owned(), true)));
    assert_eq!(config.http.unwrap().addr.to_string(), "127.0.0.1:18083");
    assert_eq!(*config.limits, crate::session::Limits::default());
    assert_eq!(config.queue, crate::store::Bounds::default());
    assert!(config.threads >= 1);
}

#[test]
fn all_mistakes_are_reported_at_once_with_key_line_and_value() {
    let text = "\
data_dir = 7
[limits]
receive_maximum = 0
inflight_max = \"many\"
retain_available = 1
colour = \"blue\"
[listeners.mqtt]
addr = \"localhost\"
[nowhere]
x = 1
[log]
format = \"xml\"
";
    assert_eq!(
        mistakes(text),
        [
            "test.toml:1: data_dir = 7: expected the path of a file in quotation marks",
            "test.toml:3: limits.receive_maximum = 0: expected a whole number of packets from 1 to 65535",
            "test.toml:4: limits.inflight_max = \"many\": expected a whole number of packets from 1 to 65535",
            "test.toml:5: limits.retain_available = 1: expected true or false",
            "test.toml:6: limits.colour = \"blue\": there is no such setting",
            "test.toml:8: listeners.mqtt.addr = \"localhost\": expected an IP address and a port such as \"127.0.0.1:1883\" or \"[::1]:1883\"",
            "test.toml:9: nowhere: there is no such table",
            "test.toml:12: log.format = \"xml\": expected \"text\" or \"json\"",
        ]
    );
}

#[test]
fn a_key_in_the_wrong_table_is_pointed_to_the_right_one() {
    assert_eq!(
        mistakes("receive_maximum = 5\n"),
        ["test.toml:1: receive_maximum = 5: there is no such setting (there is limits.receive_maximum)"]
    );
}

#[test]
fn broken_toml_is_a_mistake_with_its_line() {
    let lines = mistakes("data_dir = \"x\"\n[limits\nreceive_maximum = 5\n");
    assert!(lines[0].starts_with("test.toml:2: not TOML: "), "{lines:?}");
}

#[test]
fn the_environment_overrides_every_setting_and_nothing_else() {
    for setting in SETTINGS {
        let (value, shown) = match setting.kind {
            Kind::Whole { max, .. } => (max.to_string(), max.to_string()),
            Kind::Flag => ("true".to_owned(), "true".to_owned()),
            Kind::Word(words) => (words.last().unwrap().to_string(), format!("\"{}\"", words.last().unwrap())),
            Kind::Words(_) => ("a/#=os, b=sync".to_owned(), "{ \"a/#\" = \"os\", \"b\" = \"sync\" }".to_owned()),
            Kind::Address => ("127.0.0.1:7".to_owned(), "\"127.0.0.1:7\"".to_owned()),
            // A file that exists, a path for an upgrade, a filter for the log: this is all three.
            Kind::Path | Kind::Text => ("/".to_owned(), "\"/\"".to_owned()),
        };
        if setting.path == "log.level" || setting.path.contains("client_certificate") {
            continue;
        }
        let config = load_with("", &[(&setting.variable(), &value)]);
        // Half of a pair (certificate without key) is refused, which shows that it arrived as well.
        match config {
            Ok(config) => assert_eq!(config.values[setting.path], shown, "{}", setting.path),
            Err(mistakes) => {
                let key = format!("{}.", setting.path.rsplit_once('.').unwrap().0);
                assert!(mistakes.list.iter().all(|mistake| mistake.key.starts_with(&key)), "{mistakes}");
            }
        }
    }
    let error =
        load_with("", &[("HERALDMQ_LIMITS_COLOUR", "1"), ("HERALDMQ_LOG_FORMAT", "xml"), ("HERALDMQ_TEST_X", "1")]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "environment variable HERALDMQ_LIMITS_COLOUR: there is no such setting\n\
         environment variable HERALDMQ_LOG_FORMAT: log.format = \"xml\": expected \"text\" or \"json\""
    );
}

#[test]
fn every_number_is_accepted_at_both_ends_of_its_range_and_not_beyond() {
    for setting in SETTINGS {
        let Kind::Whole { min, max } = setting.kind else { continue };
        let read = |number: i128| load_with("", &[(&setting.variable(), &number.to_string())]);
        let right = |config: Result<Config, Mistakes>| match config {
            Ok(_) => true,
            Err(mistakes) => {
                mistakes.list.iter().all(|mistake| !mistake.expected.starts_with("expected a whole number"))
            }
        };
        assert!(right(read(i128::from(min))) && right(read(i128::from(max))), "{}", setting.path);
        assert!(!right(read(i128::from(max) + 1)) && !right(read(i128::from(min) - 1)), "{}", setting.path);
    }
}

#[test]
fn a_listener_for_everybody_needs_authentication_or_a_plain_word() {
    let open = "[listeners.mqtt]\naddr = \"0.0.0.0:1883\"\n";
    assert_eq!(
        mistakes(open),
        [
            "test.toml:2: listeners.mqtt.addr = \"0.0.0.0:1883\": nobody could be authenticated there: set auth.password_file, \
          or write listeners.mqtt.allow_anonymous = true to let everybody in"
        ]
    );
    let anonymous = |text: &str| load(text).unwrap().listeners[0].allow_anonymous;
    assert!(anonymous(&format!("{open}allow_anonymous = true\n")));
    assert!(anonymous(&format!("{open}[auth]\nallow_anonymous = true\n")));
    let file = tempfile::NamedTempFile::new().unwrap();
    let passwords = format!("[auth]\npassword_file = {:?}\n", file.path().display().to_string());
    assert!(!anonymous(&format!("{open}{passwords}")));
    assert!(!anonymous(&passwords), "with passwords, loopback is no exception");
    assert!(anonymous(&format!("{passwords}allow_anonymous = true\n")));
    assert!(load("[auth]\nallow_anonymous = false\n").is_err(), "nobody could get in");
    assert!(load("[listeners.http]\naddr = \"0.0.0.0:18083\"\n").is_err());
    assert!(load("[listeners.http]\naddr = \"0.0.0.0:18083\"\nallow_anonymous = true\n").is_ok());
}

#[test]
fn a_tls_listener_is_on_by_itself_only_if_its_certificate_exists() {
    let missing = "[listeners.mqtts]\ncertificate = \"/nowhere/a.pem\"\n";
    let config = load(missing).unwrap();
    assert!(config.listeners.iter().all(|listener| listener.endpoint.kind != net::Kind::Mqtts));
    assert!(config.notes.iter().any(|note| note.starts_with("mqtts is off")), "{:?}", config.notes);
    let lines = mistakes(&format!("{missing}enabled = true\nkey = \"/nowhere/b.pem\"\n"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let text = format!("[listeners.mqtts]\ncertificate = {path:?}\nkey = {path:?}\n");
    assert!(load(&text).unwrap().listeners.iter().any(|listener| listener.endpoint.kind == net::Kind::Mqtts));
    assert!(load(&format!("{text}require_client_certificate = true\n")).is_err());
    let with_ca = format!("{text}require_client_certificate = true\nclient_ca = {path:?}\naddr = \"0.0.0.0:1\"\n");
    assert!(load(&with_ca).is_ok(), "a client certificate is authentication");
}

#[test]
fn settings_that_contradict_each_other_are_mistakes() {
    assert!(load("[limits]\nkeep_alive_s_min = 60\nkeep_alive_s_max = 30\n").is_err());
    assert!(load("[limits]\nkeep_alive_s_min = 60\n").is_ok());
    assert!(load("[listeners.ws]\naddr = \"127.0.0.1:1883\"\n").is_err());
    assert!(load("[listeners.ws]\naddr = \"127.0.0.1:0\"\n[listeners.mqtt]\naddr = \"127.0.0.1:0\"\n").is_ok());
}

#[test]
fn a_reload_names_what_changed() {
    let (before, after) = (load("").unwrap(), load("[log]\nlevel = \"debug\"\n[cores]\nthreads = 3\n").unwrap());
    let changes = reload::changes(&before, &after);
    let named: Vec<_> = changes.iter().map(|c| (c.setting.path, c.before, c.after, c.setting.reload)).collect();
    let expected = [("cores.threads", "0", "3", Reload::Restart), ("log.level", "\"info\"", "\"debug\"", Reload::Live)];
    assert_eq!(named, expected);
    assert!(reload::needs_restart(&changes));
    assert!(reload::changes(&before, &before).is_empty());
}

#[test]
fn the_sample_means_the_defaults_and_shows_every_setting() {
    let sample = reference::sample();
    assert_eq!(load(&sample).unwrap().values, load("").unwrap().values);
    for setting in SETTINGS {
        let key = setting.path.rsplit('.').next().unwrap();
        let absent = matches!(setting.initial, Initial::Absent(_));
        let line = if absent { format!("\n# {key} = ") } else { format!("\n{key} = ") };
        assert!(sample.contains(&line), "{}", setting.path);
        assert!(setting.doc.ends_with('.'), "{}", setting.path);
    }
}

#[test]
fn the_sample_and_the_reference_page_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, text) in
        [("config/heraldmq.toml", reference::sample()), ("src/docs/configuration.md", reference::page())]
    {
        let path = root.join(file);
        if std::env::var_os("HERALDMQ_TEST_UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{file} is not what the declaration says: run this test with HERALDMQ_TEST_UPDATE=1");
    }
}

#[test]
fn a_listener_has_the_level_of_the_store_unless_it_has_its_own() {
    let config = load("[store]\nmode = \"os\"\n[listeners.ws]\ndurability = \"sync\"\n").unwrap();
    let level = |kind| config.listeners.iter().find(|one| one.endpoint.kind == kind).unwrap().level;
    assert_eq!((level(net::Kind::Mqtt), level(net::Kind::Ws)), (Level::Os, Level::Sync));
    let levels = config.levels();
    assert!(levels.listeners.contains(&("ws".into(), Level::Sync)) && levels.topics == TopicLevels::default());
}

#[test]
fn topics_have_levels_of_their_own() {
    let config = load("[store.topic_levels]\n\"a/#\" = \"memory\"\n\"a/b,c\" = \"os\"\n").unwrap();
    assert_eq!(config.topic_levels.of("a/b,c"), Some(Level::Os));
    assert_eq!((config.topic_levels.of("a"), config.topic_levels.of("b")), (Some(Level::Memory), None));
    let inline = load("[store]\ntopic_levels = { \"a/b,c\" = \"os\", \"a/#\" = \"memory\" }\n").unwrap();
    assert_eq!(inline.topic_levels, config.topic_levels);
    assert!(reload::changes(&load("").unwrap(), &config).iter().any(|one| one.setting.path == "store.topic_levels"));
}

#[test]
fn a_level_that_is_none_and_a_pattern_that_is_none_are_mistakes() {
    assert_eq!(
        mistakes("[store.topic_levels]\n\"a/+/b\" = \"os\"\n[listeners.mqtt]\ndurability = \"disk\"\n"),
        [
            "test.toml:1: store.topic_levels = \"a/+/b\" = \"os\": expected a Topic Name, one with /# behind it, or #",
            "test.toml:4: listeners.mqtt.durability = \"disk\": expected \"sync\" or \"os\" or \"memory\"",
        ]
    );
    let lines = mistakes("[store.topic_levels]\n\"a\" = \"safe\"\n");
    assert!(lines[0].ends_with("expected a table of texts, each with \"sync\" or \"os\" or \"memory\""), "{lines:?}");
    let many: String = (0..=TopicLevels::MAX).map(|n| format!("t{n} = \"os\"\n")).collect();
    assert!(mistakes(&format!("[store.topic_levels]\n{many}"))[0].ends_with("expected at most 64"));
}

#[test]
fn where_nothing_reaches_a_disk_nothing_can_wait_for_it() {
    let memory = "[store]\nmode = \"memory\"\ntopic_levels = { a = \"memory\", b = \"os\" }\n";
    let lines = mistakes(&format!("{memory}[listeners.ws]\ndurability = \"sync\"\n"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.contains("store.mode is \"memory\", where nothing reaches a disk")),
        "{lines:?}"
    );
    assert!(load("[store]\nmode = \"memory\"\ntopic_levels = { a = \"memory\" }\n").is_ok());
}
