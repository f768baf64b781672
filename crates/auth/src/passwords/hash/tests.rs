//! Tests that hashes written by other programs are read and matched, within their limits.

use super::{
    limits::{CRYPT_MAX_PASSWORD_LEN, NGINX_MAX_PASSWORD_LEN},
    *,
};

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

/// Hashes written by Apache's htpasswd and by `openssl passwd`; the password is `secret`.
const HASHES_OF_SECRET: [&str; 8] = [
    "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
    "$1$.$sVnbJVxb2euEG34kw.xpg0",
    "$apr1$/w7CbeyA$4hAcSx9u1em70pJRgmzPS1",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "$5$gYV7ZfCjYr/A677l$0lVHbhxRPIgbbo.HdltTKur.ufH33QYTPVYmB2pt1.7",
    "$6$yVtnmVvdwNi8Ict2$BFg5yDiyn376rLONxSctw7tOPmtywNLifiVYDvZw9OBQ2AdwLFG432/mlnhkrGrc.TobxTsv/PYQK0qZNP53P1",
    "$5$rounds=1000$5vmhZqwm91L/oLxe$NYalufXhUbEdCW1pC8ojOzQ1zeiF2g6iLUBMcn8dw22",
    "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu",
];

/// Hashes written by `openssl passwd` and confirmed by crypt(3), with the length of the password, which is all `k`.
const HASHES_OF_LONG_PASSWORDS: [(usize, &str); 8] = [
    (80, "$apr1$salt$z2YN.dKOzGeTa9T8rEMgR."),
    (80, "$1$salt$/tZ4Kmg14yXweYpdN0yQ3."),
    (80, "$5$salt$TqWY/3h3.GQhqT59X9A4lPwIPkFWP3vcxVyBEEHSju7"),
    (80, "$6$salt$UcrUhZumdatxwbrAcvu6d6ZhUn19SGkG8RlfFBRHAsQW5RO8nod/7dB4yFyWbJXUb7fjjQbgss7B6D/S23Lkm1"),
    (255, "$apr1$salt$aS00oXqanwKIUhmfmuUHS/"),
    (255, "$1$salt$ktXlE9xbTIqwVfepllq5Z0"),
    (255, "$5$salt$46E3yHYGN0Y2yzg3Wn7ykwGn4FPa35bA4NyARkGfNq/"),
    (255, "$6$salt$Y3aShzJpQ/THE4SwELakUaS13hBg6.yStl9x6TxXg0fpzgjCOpn42UUsDNsdpA0052yKKEOLWLBaUT/oHc4EW."),
];

/// Hashes of an empty password, written by `openssl passwd` and Apache's htpasswd.
const HASHES_OF_EMPTY_PASSWORD: [&str; 4] = [
    "$apr1$salt$AnXM5PAEa9T4ruYbwPoUh/",
    "$1$salt$UsdFqFVB.FsuinRDK5eE..",
    "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    "$2y$04$40rAuRyvHDXPDoou.jfT4eBKnt3axKWZlrCc2McLS7S0uWu4Z8bcO",
];

#[test]
fn hashes_written_by_apache_are_read_and_matched() {
    for text in HASHES_OF_SECRET {
        let hash: StoredHash = text.parse().unwrap();
        assert!(hash.matches(&password("secret")), "{text}");
        assert!(!hash.matches(&password("Secret")), "{text}");
        assert!(!hash.matches(&password("")), "{text}");
        assert_eq!(hash.as_str(), text);
    }
}

#[test]
fn a_hash_is_refused_with_any_letter_missing_or_added() {
    for text in HASHES_OF_SECRET {
        for end in 0..text.len() {
            let cut = text[..end].parse::<StoredHash>();
            assert!(cut.is_err(), "{}", &text[..end]);
        }
        assert!(format!("{text}x").parse::<StoredHash>().is_err(), "{text}x");
    }
}

#[test]
fn costs_that_would_occupy_every_processor_are_refused() {
    let bcrypt = "$2y$17$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu".parse::<StoredHash>();
    assert!(matches!(bcrypt, Err(InvalidHash::Cost(_))));
    let rounds = "$5$rounds=1000001$5vmhZqwm91L/oLxe$NYalufXhUbEdCW1pC8ojOzQ1zeiF2g6iLUBMcn8dw22".parse::<StoredHash>();
    assert!(matches!(rounds, Err(InvalidHash::Rounds)));
}

#[test]
fn a_hash_prints_its_format_and_nothing_else() {
    let hash: StoredHash = HASHES_OF_SECRET[7].parse().unwrap();
    assert_eq!(format!("{hash:?}"), "StoredHash(bcrypt cost 4)");
}

#[test]
fn a_new_hash_is_bcrypt_and_matches() {
    let new = NewPassword::try_from(password("pä ß")).unwrap();
    let cost = BcryptCost::new(4).unwrap();
    let hash = StoredHash::new(&new, cost, &aws_lc_rs::rand::SystemRandom::new()).unwrap();
    assert!(hash.as_str().starts_with("$2y$04$"));
    assert!(hash.as_str().parse::<StoredHash>().unwrap().matches(new.password()));
}

#[test]
fn bcrypt_compares_the_first_72_bytes_as_nginx_and_registry_2_do() {
    let new = NewPassword::try_from(password(&"x".repeat(72))).unwrap();
    let hash = StoredHash::new(&new, BcryptCost::new(4).unwrap(), &aws_lc_rs::rand::SystemRandom::new()).unwrap();
    for (text, is_right) in [("x".repeat(72), true), ("x".repeat(5000), true), ("x".repeat(71), false)] {
        assert_eq!(hash.matches(&password(&text)), is_right, "{}", text.len());
    }
}

#[test]
fn a_password_over_72_bytes_matches_the_formats_that_hash_all_of_it() {
    for (length, text) in HASHES_OF_LONG_PASSWORDS {
        let hash: StoredHash = text.parse().unwrap();
        assert!(hash.matches(&password(&"k".repeat(length))), "{text}");
        for other in [72, length - 1, length + 1] {
            assert!(!hash.matches(&password(&"k".repeat(other))), "{other} {text}");
        }
    }
}

#[test]
fn a_password_longer_than_its_format_takes_is_wrong_rather_than_cut() {
    let long = password(&"k".repeat(NGINX_MAX_PASSWORD_LEN + 1));
    for text in HASHES_OF_SECRET.iter().filter(|text| !text.starts_with("$2")) {
        assert!(!text.parse::<StoredHash>().unwrap().matches(&long), "{text}");
    }
    // Written by crypt(3), which refuses a password of one more byte.
    let hash: StoredHash = "$5$rounds=1000$salt$5h3GHkwEHgA4AN1wrupBLk1XnJgg7ZBVuiFpSVvd1m7".parse().unwrap();
    let bytes = "k".repeat(CRYPT_MAX_PASSWORD_LEN);
    assert!(hash.matches(&password(&bytes)));
    assert!(!hash.matches(&password(&format!("{bytes}k"))));
}

#[test]
fn a_zero_byte_ends_a_password_and_an_empty_one_never_matches() {
    for text in HASHES_OF_SECRET {
        let hash: StoredHash = text.parse().unwrap();
        assert!(hash.matches(&password("secret\0more")), "{text}");
        assert!(!hash.matches(&password("\0secret")), "{text}");
    }
    for text in HASHES_OF_EMPTY_PASSWORD {
        let hash: StoredHash = text.parse().unwrap();
        assert!(!hash.matches(&password("")) && !hash.matches(&password("\0x")), "{text}");
    }
}

#[test]
fn salts_may_contain_what_crypt_accepts_and_nothing_else() {
    for text in [
        "$1$my-salt_$hwJ9ol48bUpxwsQAg108b1",
        "$1$$ysVNzQc4CTMkp5daOdZ.3/",
        "$6$$2M9DchxW4txWyTYoZrH9D3VvAAQxBpEezYsLY6Cao.jwzEXpyL9xwip9hiUZX7GqTqe/E/z6iKvZqXUuqniQH.",
        "$6$my-salt$/gA9INtc7C8QKPt9AoZUnC6iJJnj.8bferFGH38MT0fOyrjl1zxc56pswco6BkH6/wHF2UugUpEYtJHtwF5Ay0",
    ] {
        assert!(text.parse::<StoredHash>().unwrap().matches(&password("secret")), "{text}");
    }
    for salt in ["a;b", "a b", "123456789", "ä"] {
        let text = format!("$1${salt}$ysVNzQc4CTMkp5daOdZ.3/");
        assert_eq!(text.parse::<StoredHash>().err(), Some(InvalidHash::Damaged("MD5 crypt")), "{text}");
    }
}
