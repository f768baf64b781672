//! Runs the commands on a real users file, and cross-checks them with Apache's `htpasswd`.

use std::{
    fs,
    process::{Command as Process, Output},
};

use clap::Parser;

use super::*;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

struct UsersFileFixture {
    folder: tempfile::TempDir,
}

/// The outcome of a command: its result, standard output, standard error.
struct CommandOutcome(Result<(), UserError>, String, String);

impl UsersFileFixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("htpasswd")
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn user(&self, arguments: &[&str], password: &str) -> CommandOutcome {
        let arguments = [&["user"], arguments].concat();
        let args = CommandLine::try_parse_from(arguments).unwrap().args;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ask = |_: &str, _: PasswordPurpose, _: bool| Ok(Password::new(password.to_owned()));
        let result = run_with(args, self.path(), &ask, &mut out, &mut err);
        CommandOutcome(result, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn ok(&self, arguments: &[&str], password: &str) -> CommandOutcome {
        let outcome = self.user(arguments, password);
        assert!(outcome.0.is_ok(), "{arguments:?}: {:?}", outcome.0);
        outcome
    }

    fn error(&self, arguments: &[&str], password: &str) -> UserError {
        self.user(arguments, password).0.unwrap_err()
    }

    /// Runs Apache's `htpasswd` on this file.
    fn apache(&self, flags: &str, more: &[&str], user: &str, password: &str) -> Output {
        Process::new("htpasswd")
            .arg(flags)
            .args(more)
            .arg(self.path())
            .args([user, password])
            .output()
            .expect("Apache's htpasswd is needed: apt-get install apache2-utils")
    }
}

#[test]
fn a_user_is_added_changed_verified_and_removed() {
    let fixture = UsersFileFixture::new();
    let outcome = fixture.ok(&["add", "alice", "--cost", "4"], "secret");
    assert_eq!(outcome.1, "");
    assert!(outcome.2.ends_with("user alice added\n"));
    fixture.ok(&["verify", "alice"], "secret");
    fixture.ok(&["passwd", "alice"], "other");
    assert!(matches!(fixture.error(&["verify", "alice"], "secret"), UserError::WrongPassword(_)));
    fixture.ok(&["verify", "alice"], "other");
    fixture.ok(&["remove", "alice"], "");
    assert_eq!(fixture.content(), "");
}

#[test]
fn users_who_are_there_or_are_not_are_refused_with_the_way_out() {
    let fixture = UsersFileFixture::new();
    for command in ["passwd", "remove", "verify", "list"] {
        let arguments = if command == "list" { vec![command] } else { vec![command, "alice"] };
        let missing = fixture.error(&arguments, "x");
        assert!(matches!(missing, UserError::Load(UsersFileError::Missing { .. })), "{command}: {missing}");
    }
    assert!(!fixture.path().exists());
    fixture.ok(&["add", "alice", "--cost", "4"], "secret");
    let exists = fixture.error(&["add", "alice"], "x");
    assert_eq!(exists.hint().unwrap(), "change the password with `portcullis user passwd 'alice'`");
    for command in ["passwd", "remove", "verify"] {
        assert!(matches!(fixture.error(&[command, "bob"], "x"), UserError::Unknown(_)), "{command}");
    }
}

#[test]
fn passwords_and_names_that_cannot_be_are_refused() {
    let fixture = UsersFileFixture::new();
    let long = "x".repeat(73);
    for (password, reason) in [("", "the password is empty"), (&long, "the password has 73 bytes")] {
        let error = fixture.error(&["add", "alice"], password);
        assert!(error.to_string().starts_with(reason), "{error}");
        assert_eq!(error.hint().unwrap(), "choose a password of 1 to 72 bytes");
    }
    assert!(!fixture.path().exists());
    for arguments in
        [["add", "a:b", "--cost=4"], ["add", "a\nb", "--cost=4"], ["add", "a", "--cost=17"], ["add", "a", "--cost=x"]]
    {
        let message = CommandLine::try_parse_from([&["user"][..], &arguments].concat()).err().unwrap().to_string();
        assert!(message.starts_with("error: "), "{message}");
    }
}

#[test]
fn the_list_begins_each_line_with_the_name_and_shows_no_hash() {
    let fixture = UsersFileFixture::new();
    let hash = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    fs::write(fixture.path(), format!("# people\nbob:{hash}\ncarol:plain\n")).unwrap();
    fixture.ok(&["add", "Ünal Öz", "--cost", "4"], "secret");
    let CommandOutcome(_, out, err) = fixture.ok(&["list"], "");
    assert_eq!(out, "bob      SHA-1\nÜnal Öz  bcrypt cost 4\n");
    assert!(err.contains("htpasswd:3: not a supported password hash"), "{err}");
    assert!(!err.contains("plain "), "{err}");
}

#[test]
fn what_apache_writes_is_accepted_in_every_format_but_the_hopeless_ones() {
    let fixture = UsersFileFixture::new();
    let formats: [(&str, &[&str], &str); 6] = [
        ("-bcB", &["-C", "5"], "bcrypt cost 5"),
        ("-bm", &[], "apr1 (MD5)"),
        ("-bs", &[], "SHA-1"),
        ("-b2", &[], "SHA-256 rounds 5000"),
        ("-b5", &[], "SHA-512 rounds 5000"),
        ("-b5", &["-r", "1234"], "SHA-512 rounds 1234"),
    ];
    for (number, (flags, more, _)) in formats.iter().enumerate() {
        let written = fixture.apache(flags, more, &format!("user{number}"), "pä ss:wörd");
        assert!(written.status.success(), "{written:?}");
    }
    let expected: Vec<_> = (0..).zip(formats).map(|(number, (_, _, kind))| format!("user{number}  {kind}")).collect();
    assert_eq!(fixture.ok(&["list"], "").1.lines().collect::<Vec<_>>(), expected);
    for number in 0..formats.len() {
        let name = format!("user{number}");
        fixture.ok(&["verify", &name], "pä ss:wörd");
        assert!(matches!(fixture.error(&["verify", &name], "pa ss:wörd"), UserError::WrongPassword(_)), "{name}");
    }
    for flags in ["-bd", "-bp"] {
        fixture.apache(flags, &[], "dora", "secret");
        assert!(matches!(fixture.error(&["verify", "dora"], "secret"), UserError::Unusable { .. }), "{flags}");
    }
}

#[test]
fn what_we_write_is_accepted_by_apache() {
    let fixture = UsersFileFixture::new();
    fs::write(fixture.path(), "# people\r\nold:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:note\r\n\r\nnot: a user").unwrap();
    let long = "x".repeat(72);
    for (name, password) in [("alice", "secret"), ("Ünal Öz", "pä ß:$'\""), ("long", &long)] {
        fixture.ok(&["add", name, "--cost", "5"], password);
        let verified = fixture.apache("-vb", &[], name, password);
        assert!(verified.status.success(), "{name}: {verified:?}");
        assert!(!fixture.apache("-vb", &[], name, "wrong").status.success(), "{name}");
    }
    fixture.ok(&["passwd", "old"], "new");
    assert!(fixture.apache("-vb", &[], "old", "new").status.success());
    assert!(fixture.content().starts_with("# people\r\n# old: note\nold:$2y$05$"));
    assert!(fixture.content().contains("\n\r\nnot: a user\nalice:$2y$05$"));
}

#[test]
fn without_a_terminal_the_error_names_the_flag() {
    assert!(PromptError::NoTerminal.hint().contains("--password-stdin"));
}
