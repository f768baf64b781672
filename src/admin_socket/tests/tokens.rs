//! Tests the requests that create and revoke tokens: a secret that did not arrive ends its token, what has begun is
//! completed, and no error contains a secret.

use super::*;

#[test]
fn the_debug_form_of_an_event_contains_no_secret() {
    let event = Event::TokenCreated { secret: SecretLine::new(&secret()), legacy_hash: None };
    assert_eq!(format!("{event:?}"), "TokenCreated { secret: (secret), legacy_hash: None }");
}

#[test]
fn the_request_for_a_token_is_the_same_after_the_wire() {
    let line = Request::CreateToken(token_request().into()).to_line();
    let Ok(Request::CreateToken(parsed)) = Request::parse(&line) else { panic!() };
    assert_eq!(AccessTokenRequest::from(parsed), token_request());
}

/// The access tokens in the data folder.
async fn stored_tokens(root: &Path) -> usize {
    let store = FilesystemStore::open_existing(root, Clock::system()).unwrap();
    TokenStore::new(Arc::new(store)).access_tokens().await.unwrap().len()
}

#[tokio::test]
async fn a_token_whose_command_ended_before_it_had_the_secret_is_revoked() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let created = jobs.tokens.create(token_request().into(), PEER).await;
    assert!(matches!(created.event, Event::TokenCreated { .. }), "{:?}", created.event);
    assert_eq!(stored_tokens(root.path()).await, 1);
    drop(created);
    jobs.tokens.wait_for_tasks().await;
    assert_eq!(stored_tokens(root.path()).await, 0);
}

#[tokio::test]
async fn a_token_whose_secret_cannot_be_sent_is_revoked() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let (mut requests, read) = duplex(4096);
    // The buffer has no room for the secret. The command stops to read, as soon as the record exists, without closing
    // its side of the connection.
    let (answers, write) = duplex(1);
    let (_stop, stopped) = watch::channel(false);
    requests.write_all(&Request::CreateToken(token_request().into()).to_line()).await.unwrap();
    let ending = async {
        while stored_tokens(root.path()).await == 0 {
            tokio::task::yield_now().await;
        }
        drop(answers);
    };
    let (result, ()) = tokio::join!(serve_connection(read, write, PEER, &jobs, stopped), ending);
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    jobs.tokens.wait_for_tasks().await;
    assert_eq!(stored_tokens(root.path()).await, 0);
}

#[tokio::test]
async fn a_token_whose_command_is_interrupted_is_revoked_or_sent() {
    // The end of the command arrives at different moments of the creation.
    for turns in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let (jobs, _lock) = jobs(root.path());
        let (mut requests, read) = duplex(4096);
        let (mut answers, write) = duplex(4096);
        let (_stop, stopped) = watch::channel(false);
        requests.write_all(&Request::CreateToken(token_request().into()).to_line()).await.unwrap();
        let ending = async {
            for _ in 0..turns * 10 {
                tokio::task::yield_now().await;
            }
            drop(requests);
        };
        let (result, ()) = tokio::join!(serve_connection(read, write, PEER, &jobs, stopped), ending);
        result.unwrap();
        jobs.tokens.wait_for_tasks().await;
        let mut answer = String::new();
        answers.read_to_string(&mut answer).await.unwrap();
        assert_eq!(stored_tokens(root.path()).await, usize::from(answer.contains("pcat_")), "{turns}: {answer}");
    }
}

#[tokio::test]
async fn a_token_is_revoked_if_the_server_gives_up_its_connection() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let (mut requests, read) = duplex(4096);
    let (_answers, write) = duplex(1);
    let (_stop, stopped) = watch::channel(false);
    requests.write_all(&Request::CreateToken(token_request().into()).to_line()).await.unwrap();
    let serving = tokio::spawn({
        let jobs = jobs.clone();
        async move { serve_connection(read, write, PEER, &jobs, stopped).await }
    });
    while stored_tokens(root.path()).await == 0 {
        tokio::task::yield_now().await;
    }
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    jobs.tokens.wait_for_tasks().await;
    assert_eq!(stored_tokens(root.path()).await, 0);
}

#[tokio::test]
async fn a_token_whose_secret_was_sent_stays() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let (mut command, server) = duplex(4096);
    let (read, write) = split(server);
    let (_stop, stopped) = watch::channel(false);
    command.write_all(&Request::CreateToken(token_request().into()).to_line()).await.unwrap();
    serve_connection(read, write, PEER, &jobs, stopped).await.unwrap();
    let mut answer = String::new();
    command.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("pcat_"), "{answer}");
    drop(command);
    jobs.tokens.wait_for_tasks().await;
    assert_eq!(stored_tokens(root.path()).await, 1);
}

#[tokio::test]
async fn a_creation_and_a_revocation_that_have_begun_are_completed_without_their_commands() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let created = jobs.tokens.create(token_request().into(), PEER).await;
    created.token.unwrap().delivered();
    poll_once_and_drop(jobs.tokens.revoke("ci".parse().unwrap(), PEER)).await;
    jobs.tokens.wait_for_tasks().await;
    assert_eq!(stored_tokens(root.path()).await, 0);
}

/// Polls a future once, and drops it.
async fn poll_once_and_drop<F: Future>(future: F) {
    tokio::select! {
        biased;
        _ = future => {}
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn the_broken_line_of_another_user_does_not_prevent_a_token() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    fs::write(root.path().join("htpasswd"), "bob\n").unwrap();
    let created = jobs.tokens.create(token_request().into(), PEER).await;
    assert!(matches!(created.event, Event::TokenCreated { .. }), "{:?}", created.event);
    let request =
        AccessTokenRequest { name: "other".parse().unwrap(), user: "bob".parse().unwrap(), ..token_request() };
    for _ in 0..2 {
        let refused = jobs.tokens.create(request.clone().into(), PEER).await.event;
        let Event::Refused { error, hint } = refused else { panic!("{refused:?}") };
        let (hint, file) = (hint.unwrap(), root.path().join("htpasswd"));
        assert!(error.contains(":1: expected") && hint.contains(file.to_str().unwrap()), "{error} {hint}");
        assert!(!hint.contains("--htpasswd"), "{hint}");
    }
}

#[test]
fn a_lifetime_on_the_wire_has_the_bounds_of_the_command_line() {
    let line = Request::CreateToken(token_request().into()).to_line();
    let line = str::from_utf8(&line).unwrap();
    assert!(line.contains(r#""lifetime":"90s""#), "{line}");
    for lifetime in [r#""0s""#, r#""3651d""#, r#""18446744073709551615s""#, "18446744073709551615", "0"] {
        let changed = line.replace(r#""90s""#, lifetime);
        let refused = Request::parse(changed.as_bytes()).unwrap_err();
        assert!(matches!(refused, InvalidRequest::Unknown(_)), "{lifetime}: {refused}");
    }
    assert!(Request::parse(line.replace(r#""90s""#, "null").as_bytes()).is_ok());
}

#[tokio::test]
async fn of_two_commands_that_create_a_token_of_the_same_name_one_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let create = || jobs.tokens.create(token_request().into(), PEER);
    let (first, second) = tokio::join!(create(), create());
    let (first, second) = (first.event, second.event);
    let [made, refused] = if matches!(first, Event::TokenCreated { .. }) { [first, second] } else { [second, first] };
    assert!(matches!(made, Event::TokenCreated { .. }), "{made:?}");
    let Event::Refused { error, hint } = refused else { panic!("{refused:?}") };
    assert!(error.contains("already") && hint.unwrap().contains("choose another name"), "{error}");
    assert_eq!(stored_tokens(root.path()).await, 1);
}

#[tokio::test]
async fn the_error_of_an_event_that_is_not_understood_does_not_quote_it() {
    for answer in [
        r#"{"event":"pcat_secret"}"#,
        r#"{"event":"token-created","secret":"pcat_secret","legacy_hash":7}"#,
        r#"{"event":"token-created","secret":{"pcat_secret":1},"legacy_hash":null}"#,
        r#"{"event":"token-revoked"}"#,
        r#""pcat_secret""#,
    ] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("portcullis")).unwrap();
        let server = tokio::net::UnixListener::bind(socket_path(root.path())).unwrap();
        let client = AdminClient::connect(root.path()).unwrap();
        let command = tokio::task::spawn_blocking(move || client.create_token(token_request()).err().unwrap());
        let (mut connection, _) = server.accept().await.unwrap();
        connection.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        let error = command.await.unwrap();
        assert!(matches!(error, RequestError::UnknownEvent(_)), "{error}");
        assert!(!error.to_string().contains("pcat_"), "{error}");
    }
}
