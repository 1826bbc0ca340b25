use super::*;
use crate::net::tls::testing::Authority;

fn refused(options: &TlsOptions) -> String {
    TlsConfig::load(options, &[b"mqtt"]).expect_err("unusable files").to_string()
}

#[test]
fn good_files_are_accepted() {
    let authority = Authority::new();
    TlsConfig::load(&authority.options(), &[b"mqtt"]).unwrap();
    TlsConfig::load(&authority.mutual(true, &[7]), &[b"mqtt"]).unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let authority = Authority::new();
    for field in 0..4 {
        let mut options = authority.mutual(true, &[]);
        let missing = authority.dir.path().join("missing");
        match field {
            0 => options.certificate = missing,
            1 => options.key = missing,
            2 => options.client_ca = Some(missing),
            _ => options.crl = Some(missing),
        }
        assert!(refused(&options).contains("/missing: "), "field {field}");
    }
}

#[test]
fn empty_and_garbage_files_are_refused_with_their_name() {
    let authority = Authority::new();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for content in ["", "garbage\n", garbage, "-----BEGIN CERTIFICATE-----\n*"] {
        for field in 0..4 {
            let mut options = authority.mutual(true, &[]);
            let bad = authority.write("bad", content);
            match field {
                0 => options.certificate = bad,
                1 => options.key = bad,
                2 => options.client_ca = Some(bad),
                _ => options.crl = Some(bad),
            }
            assert!(refused(&options).contains("/bad: "), "field {field}: {}", refused(&options));
        }
    }
}

#[test]
fn a_truncated_certificate_is_refused() {
    let authority = Authority::new();
    let mut options = authority.options();
    let whole = std::fs::read_to_string(&options.certificate).unwrap();
    options.certificate = authority.write("bad", &whole[..whole.len() / 2]);
    assert!(refused(&options).contains("/bad: "));
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let authority = Authority::new();
    let mut options = authority.options();
    options.key = authority.write("other.key", &authority.issue(|_| {}).key.serialize_pem());
    assert!(refused(&options).contains("server.pem: "), "{}", refused(&options));
}

#[test]
fn demanding_certificates_without_saying_whom_to_trust_is_refused() {
    let authority = Authority::new();
    let options = TlsOptions { client_ca: None, ..authority.mutual(true, &[]) };
    assert!(matches!(TlsConfig::load(&options, &[]), Err(TlsError::NoClientCa)));
    let options = TlsOptions { require_client_certificate: false, ..options };
    assert!(matches!(TlsConfig::load(&options, &[]), Err(TlsError::NoClientCa)), "a list alone would be ignored");
}
