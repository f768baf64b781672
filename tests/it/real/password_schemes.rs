//! Compares password verification with nginx and docker-registry: a random users file with hashes of crypt(3),
//! `htpasswd` and `openssl passwd`, and thousands of right and almost right passwords.
//!
//! A user who signs in at one of the two also signs in here, if the scheme is supported; a user who signs in here
//! also signs in at one of the two. `PASSWORDS_SEED` sets the seed.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, net::TcpStream, path::Path, process::Command};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use futures_util::{StreamExt as _, stream};
use reqwest::{Client, StatusCode};
use sha1::{Digest as _, Sha1};

use crate::support::{
    ServerDir, ToolCommand, daemon::Daemon, free_port, nginx, seeded_random::SeededRandom, tool_command::require,
};

const ACCOUNTS: usize = 240;

/// Settings of crypt(3) without their salt, and whether the scheme is supported. The parameters are the cheapest.
const CRYPT: [(&str, bool); 16] = [
    ("$1$", true),
    ("$5$", true),
    ("$5$rounds=1000$", true),
    ("$6$rounds=1000$", true),
    ("$6$rounds=1717$", true),
    ("$2a$04$", true),
    ("$2b$04$", true),
    ("$2y$05$", true),
    ("$2x$04$", false),
    ("$y$j75$", false),
    ("$gy$j75$", false),
    ("$md5,rounds=100$", false),
    ("$sha1$100$", false),
    ("$3$$", false),
    ("_/...", false),
    ("", false),
];

/// Options of other writers, and whether their hashes are supported.
const WRITERS: [(&str, &[&str], bool); 10] = [
    ("htpasswd", &["-nbB", "-C", "4"], true),
    ("htpasswd", &["-nbm"], true),
    ("htpasswd", &["-nbs"], true),
    ("htpasswd", &["-nb2", "-r", "1000"], true),
    ("htpasswd", &["-nb5", "-r", "1000"], true),
    ("htpasswd", &["-nbd"], false),
    ("openssl", &["-1"], true),
    ("openssl", &["-apr1"], true),
    ("openssl", &["-5"], true),
    ("openssl", &["-6"], true),
];

/// A user of the file.
struct HashedAccount {
    name: String,
    password: String,
    hash: String,
    /// The scheme or program that made the hash.
    scheme: &'static str,
    /// Whether the scheme is supported, and the file has no contradictory lines for the user.
    is_known: bool,
}

/// One of these; the list must not be empty.
fn one_of<T: Clone>(chance: &mut SeededRandom, from: &[T]) -> T {
    chance.pick(from).unwrap()
}

/// A random password, often with a length near the limits of bcrypt, `openssl passwd` and crypt(3).
fn password(chance: &mut SeededRandom, longest: usize) -> String {
    let length =
        one_of(chance, &[1, 2, 7, 8, 9, 15, 16, 17, 40, 64, 70, 71, 72, 73, 74, 80, 144, 255, 510, 511, 512, 600]);
    let length = length.min(longest);
    let mut text = String::new();
    while text.len() < length {
        let character =
            if chance.below(12) == 0 { one_of(chance, &['ä', '€', ':', '$', ' ', '\u{7f}']) } else { 'a' };
        let character =
            if character == 'a' { char::from(b'!' + u8::try_from(chance.below(94)).unwrap()) } else { character };
        text.push(if text.len() + character.len_utf8() > length { 'z' } else { character });
    }
    text
}

fn salt(chance: &mut SeededRandom, length: usize) -> String {
    let alphabet = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..length).map(|_| char::from(one_of(chance, alphabet))).collect()
}

/// A salt in the format of the scheme: those of MD5 and SHA crypt may have any length and any letters.
fn salt_for(chance: &mut SeededRandom, setting: &str) -> String {
    match setting {
        "$1$" => short_salt(chance, 8),
        _ if setting.starts_with("$5$") || setting.starts_with("$6$") => short_salt(chance, 16),
        "" => salt(chance, 2),
        "_/..." => salt(chance, 4),
        "$3$$" => String::new(),
        _ if setting.starts_with("$2") => salt(chance, 22),
        _ => salt(chance, 8),
    }
}

fn short_salt(chance: &mut SeededRandom, longest: usize) -> String {
    let length = chance.below(longest + 1);
    let salt = salt(chance, length);
    if chance.below(3) == 0 { salt.replace(['a', 'B', '7'], "-") } else { salt }
}

/// Adds accounts with hashes made by crypt(3).
fn add_crypt_accounts(chance: &mut SeededRandom, accounts: &mut Vec<HashedAccount>) {
    let mut asked = Vec::new();
    let mut input = String::new();
    for number in 0..ACCOUNTS * 2 / 3 {
        let (setting, is_known) = CRYPT[number % CRYPT.len()];
        let password = password(chance, 600);
        let hex = password.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(input, "{hex} {setting}{}", salt_for(chance, setting)).unwrap();
        asked.push((password, setting, is_known));
    }
    let script =
        r#"while (<STDIN>) { chomp; my ($p, $s) = split / /, $_, 2; print crypt(pack("H*", $p), $s) // "*0", "\n" }"#;
    let hashes = ToolCommand::new("perl").args(["-e", script]).input(&input).run_ok().stdout;
    for ((password, setting, is_known), hash) in asked.into_iter().zip(hashes.lines()) {
        // Where crypt(3) refuses the password, no sign-in is possible.
        add(accounts, password, setting, hash, is_known && !hash.starts_with('*'));
    }
}

/// Adds accounts with hashes made by Apache and OpenSSL, and in the two formats that only nginx supports.
fn add_other_accounts(chance: &mut SeededRandom, accounts: &mut Vec<HashedAccount>) {
    for number in 0..ACCOUNTS / 4 {
        let (program, options, is_known) = WRITERS[number % WRITERS.len()];
        let password = password(chance, 255);
        let written = match program {
            "htpasswd" => {
                ToolCommand::new(program).args(options).args(["x", &password]).run_ok().stdout.replacen("x:", "", 1)
            }
            _ => ToolCommand::new(program).arg("passwd").args(options).arg("--").arg(&password).run_ok().stdout,
        };
        add(accounts, password, options[0], written.trim(), is_known);
    }
    while accounts.len() < ACCOUNTS {
        let (password, salt) = (password(chance, 600), salt(chance, 4));
        let digest =
            |salt: &str| BASE64.encode([&Sha1::digest([&password, salt].concat())[..], salt.as_bytes()].concat());
        let (scheme, rest, is_known) = match chance.below(3) {
            0 => ("{SHA}", digest(""), true),
            1 => ("{SSHA}", digest(&salt), false),
            _ => ("{PLAIN}", password.replace(':', ""), false),
        };
        add(accounts, password, scheme, &format!("{scheme}{rest}"), is_known);
    }
}

fn add(accounts: &mut Vec<HashedAccount>, password: String, scheme: &'static str, hash: &str, is_known: bool) {
    let name = format!("user {}{}", accounts.len(), if accounts.len().is_multiple_of(7) { "ß" } else { "" });
    accounts.push(HashedAccount { name, password, scheme, hash: hash.to_owned(), is_known });
}

/// The users file: with notes, comments and blank lines, and with users who are in it twice.
fn file(chance: &mut SeededRandom, accounts: &mut [HashedAccount]) -> String {
    let mut text = String::new();
    for account in accounts {
        let line = format!("{}:{}", account.name, account.hash);
        let ends = ["\n", "\n", "\r\n", ":a note\n", ":a note: more\r\n", "\n# a comment\n", "\n\n", "\n#x:y\r\n"];
        let end = one_of(chance, &ends);
        text += &line;
        text += end;
        match chance.below(12) {
            0 => writeln!(text, "{line}").unwrap(),
            1 => {
                writeln!(text, "{}:{{SHA}}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", account.name).unwrap();
                account.is_known = false;
            }
            _ => {}
        }
    }
    text
}

/// The passwords to try for an account: its own, and almost its own.
fn guesses(chance: &mut SeededRandom, account: &HashedAccount, others: &[HashedAccount]) -> Vec<String> {
    let right = &account.password;
    let cut = |length: usize| right.char_indices().take_while(|(index, _)| *index < length).map(|(_, c)| c).collect();
    let mut guesses = vec![
        right.clone(),
        format!("{right}x"),
        cut(right.len() - 1),
        right.chars().skip(1).collect(),
        format!("{right}\0x"),
        format!("\0{right}"),
        String::new(),
        right.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c }).collect(),
        others[chance.below(others.len())].password.clone(),
    ];
    guesses.extend([71, 72, 73].into_iter().filter(|length| *length < right.len()).map(cut));
    guesses
}

fn registry(stage: &ServerDir, users: &Path) -> (Daemon, String) {
    let port = free_port::free();
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: test}}\n\
         storage: inmemory\nauth: {{htpasswd: {{realm: x, path: '{}'}}}}\n",
        users.display()
    );
    let mut command = Command::new(require("docker-registry"));
    command.arg("serve").arg(stage.write("registry.yml", &text));
    let mut daemon = Daemon::start(command, stage.path("registry.log"));
    daemon.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    (daemon, format!("http://127.0.0.1:{port}/v2/"))
}

async fn signs_in(client: &Client, url: &str, account: &HashedAccount, guess: &str) -> bool {
    let answer = client.get(url).basic_auth(&account.name, Some(guess)).send().await.unwrap();
    let status = answer.status();
    answer.bytes().await.unwrap();
    assert!(
        [StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&status),
        "{url}: {status} for {guess:?} of {}",
        account.hash
    );
    status == StatusCode::OK
}

#[test]
fn whoever_signs_in_at_nginx_or_registry_2_signs_in_here_and_nobody_else() {
    let seed = env::var("PASSWORDS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (mut chance, mut accounts) = (SeededRandom::new(seed, 0), Vec::new());
    add_crypt_accounts(&mut chance, &mut accounts);
    add_other_accounts(&mut chance, &mut accounts);
    let stage = ServerDir::new();
    stage.configure("[auth.lockout]\nattempts = 10000");
    let users = stage.write("htpasswd", &file(&mut chance, &mut accounts));
    // The file stays unchanged for all three: older hashes cannot be replaced, which is logged once and refuses no
    // sign-in.
    fs::create_dir(stage.path("htpasswd.lock")).unwrap();
    let server = stage.start();
    let (_registry, registry) = registry(&stage, &users);
    fs::create_dir(stage.path("www")).unwrap();
    stage.write("www/index.html", "in");
    let folder = stage.folder().display();
    let inside = format!("auth_basic x;\nauth_basic_user_file {folder}/htpasswd;\nroot {folder}/www;");
    let address = ([127, 0, 0, 1], free_port::free()).into();
    let _nginx = nginx::start(&stage, address, &inside);
    let (nginx, ours) =
        (format!("https://localhost:{}/", address.port()), format!("https://localhost:{}/v2/", stage.port()));

    let ca = reqwest::Certificate::from_pem(&fs::read(stage.path("certs/ca.crt")).unwrap()).unwrap();
    let client = Client::builder().tls_certs_only([ca]).no_proxy().http1_only().build().unwrap();
    let questions: Vec<_> = accounts
        .iter()
        .flat_map(|account| guesses(&mut chance, account, &accounts).into_iter().map(move |guess| (account, guess)))
        .collect();
    assert!(questions.len() > 2000);
    let answers = stream::iter(&questions).map(|(account, guess)| {
        let (client, nginx, registry, ours) = (&client, &nginx, &registry, &ours);
        async move {
            let [nginx, registry, ours] = [nginx, registry, ours].map(|url| signs_in(client, url, account, guess));
            let (nginx, registry, ours) = tokio::join!(nginx, registry, ours);
            (*account, guess, nginx, registry, ours)
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers: Vec<_> = runtime.block_on(answers.buffer_unordered(8).collect());

    let mut signed_in = BTreeMap::<&str, usize>::new();
    for (account, guess, nginx, registry, ours) in answers {
        let output = format!("{guess:?} for {}: nginx {nginx}, registry:2 {registry}, ours {ours}", account.hash);
        assert!(nginx || registry || !ours, "signs in here alone: {output}");
        let is_empty = guess.is_empty() || guess.starts_with('\0');
        assert_eq!((nginx || registry) && account.is_known && !is_empty, ours, "{output}");
        let is_right = *guess == account.password && (nginx || registry);
        *signed_in.entry(account.scheme).or_default() += usize::from(is_right);
    }
    // Some schemes refuse long passwords, but none refuses all of them.
    let unused_schemes: Vec<_> =
        signed_in.iter().filter(|(_, count)| **count == 0).map(|(scheme, _)| *scheme).collect();
    assert!(unused_schemes.is_empty(), "no user has signed in by {unused_schemes:?}: {signed_in:?}");
    let log = server.log();
    assert_eq!(log.matches("weak password hashes stay").count(), 1, "{log}");
    assert!(
        log.contains("the user of this line cannot sign in") && log.contains("yescrypt hashes are not supported"),
        "{log}"
    );
}
