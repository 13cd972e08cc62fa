use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let files = Files(tempfile::tempdir().unwrap());
        for name in ["users", "proxies"] {
            let ca = pki::Ca::generate(name).unwrap();
            ca.write(&files.at(&format!("{name}.crt")), &files.at(&format!("{name}.key")))
                .unwrap();
        }
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, options: &Options) -> Result<Access, AccessError> {
        options.load(&self.at("users.crt"), "https://kubernetes.default.svc")
    }

    fn refusal(&self, options: &Options) -> String {
        self.load(options).err().expect("it was accepted").to_string()
    }
}

#[test]
fn nothing_is_open_that_was_not_asked_for() {
    let access = Files::new().load(&Options::default()).unwrap();
    assert!(access.static_tokens.is_none() && access.front_proxy.is_none());
    assert_eq!(access.anonymous, Anonymous::Usual);
}

#[test]
fn a_token_file_with_a_bad_line_stops_the_start_naming_it() {
    let files = Files::new();
    std::fs::write(files.at("tokens.csv"), "secret,anna,1\nsecret,bob,2\n").unwrap();
    let options = Options {
        token_auth_file: Some(files.at("tokens.csv")),
        ..Options::default()
    };
    let refusal = files.refusal(&options);
    assert!(
        refusal.starts_with("tokenAuthFile: ") && refusal.contains("line 2"),
        "{refusal}"
    );
    assert!(!refusal.contains("secret"), "{refusal}");
    let missing = Options {
        token_auth_file: Some(files.at("nothing")),
        ..Options::default()
    };
    assert!(files.refusal(&missing).contains("cannot read"));
}

#[test]
fn a_front_proxy_has_its_own_authority_or_a_name() {
    let files = Files::new();
    let with = |ca: &str, names: &[&str]| Options {
        requestheader_client_ca_file: Some(files.at(ca)),
        requestheader_allowed_names: names.iter().map(|name| name.to_string()).collect(),
        ..Options::default()
    };
    assert!(files.load(&with("proxies.crt", &[])).unwrap().users.is_some());
    files.load(&with("users.crt", &["proxy"])).unwrap();
    let refusal = files.refusal(&with("users.crt", &[]));
    assert!(refusal.contains("pose as any other"), "{refusal}");
    // The same authority in a bundle with others is the same authority.
    let both = ["users.crt", "proxies.crt"].map(|name| std::fs::read_to_string(files.at(name)).unwrap());
    std::fs::write(files.at("bundle.crt"), both.concat()).unwrap();
    assert!(files.refusal(&with("bundle.crt", &[])).contains("pose as any other"));
    assert!(files.refusal(&with("nothing.crt", &["proxy"])).contains("cannot read"));
}

#[test]
fn headers_without_an_authority_are_refused() {
    let options = Options {
        requestheader_username_headers: vec!["X-User".into()],
        ..Options::default()
    };
    assert!(Files::new().refusal(&options).contains("nobody's headers are believed"));
}

#[test]
fn anonymous_requests_are_settled_in_one_place() {
    let files = Files::new();
    let path = files.at("authentication.yaml");
    let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: false}";
    std::fs::write(&path, text).unwrap();
    let options = |flag| Options {
        anonymous_auth: flag,
        authentication_config: Some(path.clone()),
        ..Options::default()
    };
    assert_eq!(files.load(&options(None)).unwrap().anonymous, Anonymous::Nowhere);
    assert!(files.refusal(&options(Some(true))).starts_with("anonymousAuth: "));
    let flag = |value| Options {
        anonymous_auth: Some(value),
        ..Options::default()
    };
    assert_eq!(files.load(&flag(true)).unwrap().anonymous, Anonymous::Everywhere);
    assert_eq!(files.load(&flag(false)).unwrap().anonymous, Anonymous::Nowhere);
}

#[test]
fn options_have_kube_apiservers_names_and_no_others() {
    let text = "tokenAuthFile: /a\nrequestheaderClientCaFile: /b\nrequestheaderAllowedNames: [p]\nanonymousAuth: false";
    let options: Options = serde_saphyr::from_str(text).unwrap();
    assert_eq!(options.requestheader_allowed_names, ["p"]);
    assert!(serde_saphyr::from_str::<Options>("tokenAuthFiles: /a").is_err());
}
