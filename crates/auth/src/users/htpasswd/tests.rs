//! Tests of parsing and editing: which lines are read, kept and changed.

use proptest::prelude::*;

use super::*;

const SECRET: &str = "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu";
const OTHER: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn hash(text: &str) -> StoredHash {
    text.parse().unwrap()
}

#[test]
fn users_comments_and_blank_lines_are_read_whatever_ends_them() {
    let content = format!("\u{feff}# people\r\nalice:{SECRET}\r\n\r\n  # more\nbob:{OTHER}:from the old host");
    let file = Htpasswd::parse(content.as_bytes());
    assert_eq!(file.problems(), []);
    assert_eq!(file.users().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
    assert_eq!(file.to_bytes(), content.as_bytes());
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_name() {
    let file = Htpasswd::parse(format!("\u{feff}alice:{SECRET}\n").as_bytes());
    assert!(file.hash(&name("alice")).is_some());
}

#[test]
fn an_empty_file_has_no_users_and_no_problems() {
    let file = Htpasswd::parse(b"");
    assert_eq!((file.users().count(), file.problems()), (0, &[][..]));
}

#[test]
fn all_problems_are_reported_at_once() {
    let content = format!("hello\nalice:{SECRET}\nb@d\n*:{SECRET}\nbob:secret\ncarol:$y$j9T$x\nalice:{OTHER}\ndave:\n");
    let mut content = content.into_bytes();
    content.extend(b"\xff:x\n");
    let messages: Vec<_> = Htpasswd::parse(&content).problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "line 1: expected `name:hash`, but the line has no ':'",
            "line 3: expected `name:hash`, but the line has no ':'",
            "line 4: '*', 'anonymous' and names that begin with '@' or '#' are reserved",
            "line 5: not a supported password hash (a password in clear text?)",
            "line 6: yescrypt hashes are not supported",
            "line 7: the user \"alice\" already has another password in line 2, so that neither counts",
            "line 8: there is no password hash after the ':'",
            "line 9: the line is not UTF-8 text",
        ]
    );
}

#[test]
fn a_hash_of_an_unknown_scheme_disables_only_its_user() {
    for line in [
        "bob:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
        "bob:$7$CU..../....2Q9obwLhin8qvQl6sisAO/$sRayJj4LtBFqfHIyXPgPrXuCwo1Vpk0qEApKyzqKa61",
        "bob:$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3a",
        "bob:{SSHA}qQ+pQ1xkGCRcnFTvcf6lQBOJ4xEtCcvL",
        "bob:{PLAIN}secret",
        "bob:{NEW}secret",
        "bob:$new$secret",
        "bob:$new,parameter=1$secret",
        "bob:!$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu",
        "bob:*",
        "bob:rqXexS6ZhobKA",
        "bob:_/...saltNg8LVF8ChhY",
    ] {
        let file = Htpasswd::parse(format!("{line}\nalice:{SECRET}\n").as_bytes());
        assert_eq!(file.users().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["alice"], "{line}");
        let [problem] = file.problems() else { panic!("{line}: {:?}", file.problems()) };
        assert_eq!((problem.line, file.fatal_problems().count()), (1, 0), "{line}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}

#[test]
fn a_line_that_is_damaged_in_clear_text_or_too_costly_makes_the_file_unusable() {
    for line in [
        "bob:secret",
        "bob:",
        "bob:$2y$04$short",
        "bob:$1$abc$def",
        "bob:$2y$17$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu",
        "bob:$5$rounds=1000001$5vmhZqwm91L/oLxe$NYalufXhUbEdCW1pC8ojOzQ1zeiF2g6iLUBMcn8dw22",
        "bob:$not a scheme$",
        "bob:{not a scheme}",
        "alice:$1$abc$def",
        "*:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        " bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "bob",
    ] {
        let file = Htpasswd::parse(format!("alice:{SECRET}\n{line}\n").as_bytes());
        assert_eq!(file.fatal_problems().map(|problem| problem.line).collect::<Vec<_>>(), [2], "{line}");
    }
}

#[test]
fn a_comment_after_the_hash_may_be_in_any_encoding() {
    let content = [b"alice:", SECRET.as_bytes(), b":J\xfcrgen's\n"].concat();
    let file = Htpasswd::parse(&content);
    assert!(file.hash(&name("alice")).is_some());
    assert_eq!((file.problems(), file.to_bytes()), (&[][..], content));
}

#[test]
fn a_user_with_two_passwords_signs_in_with_neither_and_one_written_twice_does() {
    let same = Htpasswd::parse(format!("alice:{SECRET}\nalice:{SECRET}:again\n").as_bytes());
    assert_eq!((same.problems(), same.users().count()), (&[][..], 1));
    for (first, second) in [(SECRET, OTHER), (OTHER, SECRET), ("$y$x", SECRET), (SECRET, "$y$x")] {
        let file = Htpasswd::parse(format!("alice:{first}\nbob:{OTHER}\nalice:{second}\n").as_bytes());
        assert_eq!(file.hash(&name("alice")).map(|_| ()), None, "{first} {second}");
        assert!(file.hash(&name("bob")).is_some());
        assert_eq!(file.problems().last().unwrap().line, 3);
    }
}

#[test]
fn a_changed_user_keeps_place_and_comment() {
    let mut file = Htpasswd::parse(format!("# a\r\nalice:{SECRET}:admin\r\n\r\nbob:{OTHER}").as_bytes());
    file.set_hash(&name("alice"), &hash(OTHER));
    file.set_hash(&name("carol"), &hash(SECRET));
    let expected = format!("# a\r\n# alice: admin\nalice:{OTHER}\n\r\nbob:{OTHER}\ncarol:{SECRET}\n");
    assert_eq!(String::from_utf8(file.to_bytes()).unwrap(), expected);
}

#[test]
fn a_new_password_replaces_an_invalid_or_duplicate_line() {
    let mut file = Htpasswd::parse(format!("alice:plain\n# x\nalice:{OTHER}\n").as_bytes());
    file.set_hash(&name("alice"), &hash(SECRET));
    assert_eq!(file.to_bytes(), format!("alice:{SECRET}\n# x\n").as_bytes());
    assert_eq!(file.problems(), []);
}

#[test]
fn removing_a_user_removes_nothing_else() {
    let mut file = Htpasswd::parse(format!("# alice:\nalice:{SECRET}\nalice2:{SECRET}").as_bytes());
    assert!(file.remove(&name("alice")));
    assert!(!file.remove(&name("alice")));
    assert_eq!(file.to_bytes(), format!("# alice:\nalice2:{SECRET}").as_bytes());
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        "[ #a-z:$]{0,12}\r?\n?".prop_map(String::into_bytes),
        "(\u{feff})?[b-d]:(\\{SHA\\}5en6G6MezRroT3XKqkdPOmY/BfQ=|x)(:note)?\r?\n".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn a_file_that_is_not_changed_keeps_every_byte(lines in proptest::collection::vec(any_line(), 0..8)) {
        let content = lines.concat();
        prop_assert_eq!(Htpasswd::parse(&content).to_bytes(), content);
    }

    #[test]
    fn adding_and_removing_a_user_leaves_every_other_line_as_it_was(lines in proptest::collection::vec(any_line(), 0..8)) {
        let user = name("a new user");
        let content = lines.concat();
        let mut file = Htpasswd::parse(&content);
        file.set_hash(&user, &hash(SECRET));
        prop_assert!(file.hash(&user).is_some());
        let mut expected = content;
        if !expected.is_empty() && !expected.ends_with(b"\n") {
            expected.push(b'\n');
        }
        prop_assert!(file.to_bytes().starts_with(&expected));
        prop_assert!(file.remove(&user));
        prop_assert_eq!(file.to_bytes(), expected);
    }
}
