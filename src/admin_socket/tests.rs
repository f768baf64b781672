//! Tests both ends of the admin socket, without the program.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split},
    sync::{mpsc, oneshot, watch},
};

use super::{
    AdminClient, AdminJobs, AdminListener, AdminServer, ConnectError, ReloadTarget, RequestError, TokenJobs,
    path::socket_path,
    peer_credentials::{PeerCredentials, check_peer},
    protocol::{Event, InvalidRequest, MAX_REQUEST_LEN, Request},
    server::{MAX_CONNECTIONS, STOPPING, serve_connection},
    token_request::SecretLine,
};
use crate::{
    access::CredentialLimits,
    auth::{LegacyHashes, Password, StoredTokenService, TokenStore, Users, tokens::AccessTokenRequest},
    clock::Clock,
    oci::{Algorithm, Digest},
    registry::{self, FsckFinding, Garbage, GarbageReason, LeftOut, Registry, RepairOutcome, StoreDamage},
    storage::{DataDirLock, FilesystemStore, lock_data_dir},
};

fn jobs(root: &Path) -> (AdminJobs, Arc<DataDirLock>) {
    let clock = Clock::system();
    let store = Arc::new(FilesystemStore::open(root, clock.clone()).unwrap());
    let registry = Registry::new(store.clone(), registry::Config::default(), clock.clone());
    let lock = Arc::new(lock_data_dir(root, &[]).unwrap().unwrap());
    let (reloads, _) = mpsc::channel(1);
    let users = root.join("htpasswd");
    fs::write(&users, "alice:$2y$04$abcdefghijklmnopqrstuuO2CIyfQuTzuFsVnuMXCSUcjuRlSZNVO\n").unwrap();
    let service = Arc::new(StoredTokenService::new(TokenStore::new(store), Duration::MAX, clock.clone()));
    let users = Arc::new(Users::load(users, clock.now()).unwrap());
    let tokens = TokenJobs::new(service, users, LegacyHashes::Refuse, clock.clone());
    (AdminJobs { registry, root: root.to_owned(), lock: lock.clone(), reloads, tokens, clock }, lock)
}

fn token_request() -> AccessTokenRequest {
    let limits = CredentialLimits {
        repositories: vec!["team/**".parse().unwrap(), "x/*".parse().unwrap()],
        actions: ["pull", "push"].map(|action| action.parse().unwrap()).into_iter().collect(),
    };
    let (name, user) = ("ci".parse().unwrap(), "alice".parse().unwrap());
    AccessTokenRequest { name, user, limits, lifetime: Some(Duration::from_secs(90)) }
}

fn secret() -> Password {
    Password::new("pcat_0123456789abcdef_secret".to_owned())
}

const PEER: PeerCredentials = PeerCredentials { uid: 0, pid: None };

#[test]
fn requests_and_events_survive_the_wire() {
    let repository = Some("team/app".parse().unwrap());
    let blob = Digest::compute(Algorithm::Sha256, b"blob");
    for request in [
        Request::CollectGarbage,
        Request::RemoveRepository { repository: "team/app".parse().unwrap() },
        Request::Repair,
        Request::Reload { target: ReloadTarget::Certificates },
        Request::CreateToken(token_request().into()),
        Request::RevokeToken { token: "ci".parse().unwrap() },
        Request::RevokeToken { token: "0123456789abcdef".parse().unwrap() },
    ] {
        assert_eq!(Request::parse(&request.to_line()), Ok(request));
    }
    let (damage, repair) = (StoreDamage::WrongTag { tag: "1".parse().unwrap() }, RepairOutcome::Quarantined);
    for event in [
        Event::GcProgress { done: 1, total: 2 },
        Event::Garbage(Garbage { repository, name: "x".into(), size: u64::MAX, why: GarbageReason::Unused }),
        Event::LeftOut(LeftOut { repository: "line\nbreak".into(), reason: "\"".into() }),
        Event::FsckProgress { blobs: 1, total: 2, bytes: u64::MAX },
        Event::Finding(FsckFinding { repository: "a".parse().ok(), damage, repair }),
        Event::Finding(FsckFinding {
            repository: None,
            damage: StoreDamage::Unlinked { blob },
            repair: RepairOutcome::None,
        }),
        Event::Collected { kept: 1, restored: 0 },
        Event::NoSuchRepository,
        Event::Repaired { blobs: 1, bytes: 2 },
        Event::Reloaded,
        Event::TokenCreated { secret: SecretLine::new(&secret()), legacy_hash: Some("sha1".to_owned()) },
        Event::TokenRevoked,
        Event::NoSuchToken,
        Event::refused(&"words", None),
        Event::failed("words"),
    ] {
        let line = event.to_line();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "{event:?}");
        assert_eq!(serde_json::from_slice::<Event>(&line).unwrap(), event);
    }
}

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
    let created = jobs.tokens.create_now(token_request(), PEER).await;
    assert_eq!(stored_tokens(root.path()).await, 1);
    let (answer, command) = oneshot::channel();
    drop(command);
    jobs.tokens.deliver(created, answer, PEER).await;
    assert_eq!(stored_tokens(root.path()).await, 0);
}

#[tokio::test]
async fn of_two_commands_that_create_a_token_of_the_same_name_one_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let create = || jobs.tokens.create(token_request().into(), PEER);
    let (first, second) = tokio::join!(create(), create());
    let [made, refused] = if matches!(first, Event::TokenCreated { .. }) { [first, second] } else { [second, first] };
    assert!(matches!(made, Event::TokenCreated { .. }), "{made:?}");
    let Event::Refused { error, hint } = refused else { panic!("{refused:?}") };
    assert!(error.contains("already") && hint.unwrap().contains("choose another name"), "{error}");
    assert_eq!(stored_tokens(root.path()).await, 1);
}

#[test]
fn a_request_that_is_not_understood_is_refused_in_words() {
    let refused = |text: &str| Request::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused(r#"{"version":2,"request":"dance"}"#), InvalidRequest::Version(2));
    let unknown = refused(r#"{"version":1,"request":"dance"}"#).to_string();
    assert!(unknown.contains("does not understand") && unknown.contains("dance"), "{unknown}");
    let repository = refused(r#"{"version":1,"request":"remove-repository","repository":"../x"}"#);
    assert!(matches!(repository, InvalidRequest::Unknown(_)), "{repository}");
    for text in ["", "\n", "GET / HTTP/1.1", "{}", "[]", r#"{"version":"1"}"#, r#"{"request":"repair"}"#] {
        assert!(matches!(refused(text), InvalidRequest::Malformed(_)), "{text:?}");
    }
    let long = format!(r#"{{"version":1,"request":"repair","x":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(refused(&long), InvalidRequest::TooLong);
}

#[test]
fn only_the_servers_account_and_root_may_make_requests() {
    for (peer, own, is_accepted) in [(0, 0, true), (1000, 1000, true), (0, 1000, true), (1000, 0, false), (1, 2, false)]
    {
        let checked = check_peer(PeerCredentials { uid: peer, pid: Some(1) }, own);
        assert_eq!(checked.is_ok(), is_accepted, "{peer} {own}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_silent_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let (mut command, server) = duplex(1024);
    let (read, write) = split(server);
    let (_stop, stopped) = watch::channel(false);
    command.write_all(b"{\"version\":1,").await.unwrap();
    // The paused clock runs ahead to the time limit as soon as both ends wait.
    serve_connection(read, write, PEER, &jobs, stopped).await.unwrap();
    let mut answer = String::new();
    command.read_to_string(&mut answer).await.unwrap_or_default();
    assert!(answer.contains("no request arrived in time"), "{answer}");
}

#[tokio::test]
async fn a_line_without_end_is_refused_at_its_maximum() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let (mut command, server) = duplex(1 << 20);
    let (read, write) = split(server);
    let (_stop, stopped) = watch::channel(false);
    command.write_all(&vec![b'x'; 1 << 19]).await.unwrap();
    serve_connection(read, write, PEER, &jobs, stopped).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = command.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.contains(&format!("exceeds {MAX_REQUEST_LEN} bytes")), "{answer}");
}

#[tokio::test]
async fn a_server_that_stops_ends_a_collection_with_an_error() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, _lock) = jobs(root.path());
    let (mut command, server) = duplex(1 << 16);
    let (read, write) = split(server);
    let (stop, stopped) = watch::channel(false);
    // Without a reader of the files, this request waits until the server stops.
    let (reloads, _never_read) = mpsc::channel(1);
    let jobs = AdminJobs { reloads, ..jobs };
    command.write_all(&Request::Reload { target: ReloadTarget::SigningKeys }.to_line()).await.unwrap();
    let serving = serve_connection(read, write, PEER, &jobs, stopped);
    let (result, _) = tokio::join!(serving, async { stop.send_replace(true) });
    result.unwrap();
    let mut answer = vec![0; 1024];
    let length = command.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).contains(STOPPING));
}

/// A data folder with a path of `depth` times 50 bytes.
fn deep_folder(depth: usize) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = (0..depth).fold(folder.path().to_owned(), |path, _| path.join("x".repeat(49)));
    fs::create_dir_all(&root).unwrap();
    (folder, root)
}

#[tokio::test]
async fn the_socket_has_mode_0600_replaces_a_stale_one_and_is_removed_whatever_the_length_of_its_path() {
    for depth in [0, 1, 2, 3, 20] {
        let (_folder, root) = deep_folder(depth);
        let lock = lock_data_dir(&root, &[]).unwrap().unwrap();
        let stale = AdminListener::bind(&root, &lock).unwrap();
        std::mem::forget(stale);
        let listener = AdminListener::bind(&root, &lock).unwrap();
        let mode = fs::symlink_metadata(socket_path(&root)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{depth}");
        assert!(AdminClient::connect(&root).is_ok(), "{depth}");
        drop(listener);
        assert!(!socket_path(&root).exists(), "{depth}");
        let refused = AdminClient::connect(&root).err();
        assert!(matches!(refused, Some(ConnectError::NotListening(..))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_command_shows_why_a_server_has_no_socket() {
    let root = tempfile::tempdir().unwrap();
    let _lock = lock_data_dir(root.path(), &[]).unwrap().unwrap();
    fs::write(socket_path(root.path()), "Operation not supported (os error 95)\n").unwrap();
    let refused = AdminClient::connect(root.path()).err().unwrap();
    assert!(matches!(refused, ConnectError::NoSocket(..)));
    assert!(refused.to_string().ends_with("admin.sock: Operation not supported (os error 95)"), "{refused}");
}

#[tokio::test]
async fn more_connections_than_allowed_are_refused_and_the_next_is_served() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, lock) = jobs(root.path());
    let listener = AdminListener::bind(root.path(), &lock).unwrap();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(AdminServer::new(listener, jobs).run(stopped));
    let path = socket_path(root.path());
    let mut waiting = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        waiting.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    let mut refused = String::new();
    tokio::net::UnixStream::connect(&path).await.unwrap().read_to_string(&mut refused).await.unwrap();
    assert!(refused.contains("too many commands"), "{refused}");
    drop(waiting);
    // The server notices the ends of the connections one by one.
    loop {
        let client = AdminClient::connect(root.path()).unwrap();
        let name = "team/app".parse().unwrap();
        let result = tokio::task::spawn_blocking(move || client.remove_repository(&name)).await.unwrap();
        match result {
            Err(RequestError::NameUnknown(_)) => break,
            Err(RequestError::Failed(error)) => assert!(error.contains("too many commands"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    stop.send_replace(true);
    server.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn the_last_progress_and_every_item_arrive_before_the_result() {
    let root = tempfile::tempdir().unwrap();
    let (jobs, lock) = jobs(root.path());
    fs::create_dir_all(root.path().join("docker/registry/v2/repositories/UPPER/_layers/x")).unwrap();
    fs::create_dir_all(root.path().join("docker/registry/v2/repositories/a/_layers/x")).unwrap();
    let listener = AdminListener::bind(root.path(), &lock).unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(AdminServer::new(listener, jobs).run(stopped));
    let mut stream = tokio::net::UnixStream::connect(socket_path(root.path())).await.unwrap();
    stream.write_all(&Request::CollectGarbage.to_line()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let events: Vec<serde_json::Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let position = |name: &str| events.iter().position(|event| event["event"] == json!(name)).expect(&answer);
    assert_eq!(position("collected"), events.len() - 1, "{answer}");
    assert!(position("left-out") < events.len() - 1 && position("gc-progress") < events.len() - 1, "{answer}");
    let last = events.iter().rfind(|event| event["event"] == json!("gc-progress")).unwrap();
    assert_eq!(last["done"], last["total"], "{answer}");
}
