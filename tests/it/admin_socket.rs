//! Tests the socket on which commands make requests to the running server, with the real program on both ends.

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::oci_layout::digest;
use crate::support::portcullis_server::BINARY;
use crate::support::server_dir::basic;
use crate::support::tool_command::require;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

/// The time after which a test fails, on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn socket(stage: &ServerDir) -> PathBuf {
    stage.path("data/portcullis/admin.sock")
}

/// Writes a blob of the given content, or of zero bytes without end, so that it never matches its digest in time.
fn blob(stage: &ServerDir, digest: &str, content: Option<&[u8]>) -> PathBuf {
    let path = stage.path("data/docker/registry/v2/blobs/sha256").join(&digest[7..9]).join(&digest[7..]).join("data");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match content {
        Some(content) => fs::write(&path, content).unwrap(),
        // A sparse file of a terabyte.
        None => fs::File::create(&path).unwrap().set_len(1 << 40).unwrap(),
    }
    path
}

/// A data folder whose check does not end before the test does, but makes progress: one blob is read.
fn endless_data() -> ServerDir {
    let stage = ServerDir::new();
    blob(&stage, &digest(b"small"), Some(b"small"));
    blob(&stage, &format!("sha256:{}", "f".repeat(64)), None);
    stage
}

/// Sends a line to the socket, and returns the connection.
fn request(stage: &ServerDir, line: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket(stage)).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn next_event(events: &mut impl std::io::BufRead) -> Value {
    let mut line = String::new();
    events.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// A command that is running.
struct RunningCommand {
    child: Child,
}

impl RunningCommand {
    fn start(stage: &ServerDir, words: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.current_dir(stage.folder()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap() }
    }

    /// Waits for the end, and returns the exit code with what is on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `fsck --repair` beside the server, and returns when the server works on it.
fn repair_that_does_not_end(server: &PortcullisServer) -> RunningCommand {
    let command = RunningCommand::start(&server.stage, &["fsck", "--repair"]);
    let is_begun = eventually(DEADLINE, || server.log().contains("repair of the data folder begins"));
    assert!(is_begun, "{}", server.log());
    command
}

#[test]
fn progress_is_seen_before_the_end() {
    let stage = endless_data();
    let _server = stage.start();
    let mut events = request(&stage, "{\"version\":1,\"request\":\"repair\"}\n");
    // The second blob takes longer than this test, so the end is far away.
    assert_eq!(next_event(&mut events), json!({"event": "fsck-progress", "blobs": 1, "total": 2, "bytes": 5}));
}

#[test]
fn a_command_ends_with_an_error_when_the_server_is_stopped_or_killed() {
    let stage = endless_data();
    let mut server = stage.start();
    let command = repair_that_does_not_end(&server);
    assert!(server.daemon.stop().success(), "{}", server.log());
    let (code, said) = command.end();
    assert_eq!((code, said.contains("error: the server reports: the server is stopping")), (Some(1), true), "{said}");
    assert!(!socket(&stage).exists(), "removed at shutdown");

    let mut server = stage.start();
    let command = repair_that_does_not_end(&server);
    server.daemon.signal(Signal::KILL);
    assert!(server.daemon.wait_for_exit(DEADLINE).is_some());
    let (code, said) = command.end();
    assert_eq!((code, said.contains("error: the server ended before the request was done")), (Some(1), true), "{said}");
}

#[test]
fn the_server_ends_the_work_of_a_command_that_is_gone() {
    let stage = endless_data();
    let server = stage.start();
    drop(repair_that_does_not_end(&server));
    assert!(eventually(DEADLINE, || server.log().contains("the command has ended")), "{}", server.log());
    // A repair that went on would keep this collection from beginning.
    stage.portcullis_command().arg("gc").run_ok().assert_prints_one_of(&["items were removed"]);
}

#[test]
fn a_request_waits_for_the_one_before_and_is_not_done_if_its_command_ends_meanwhile() {
    let stage = endless_data();
    let server = stage.start();
    let first = repair_that_does_not_end(&server);
    let waiting = request(&stage, "{\"version\":1,\"request\":\"collect-garbage\"}\n");
    assert!(eventually(DEADLINE, || server.log().contains("CollectGarbage")), "{}", server.log());
    drop(waiting);
    assert!(eventually(DEADLINE, || server.log().contains("the command has ended")), "{}", server.log());
    drop(first);
    stage.portcullis_command().args(["repository", "remove", "a", "--yes"]).run_failing();
    assert!(!server.log().contains("garbage collected"), "{}", server.log());
}

#[test]
fn errors_and_warnings_of_the_server_are_those_of_the_command() {
    let stage = ServerDir::new();
    fs::create_dir_all(stage.path("data/docker/registry/v2/repositories/UPPER/_layers/x")).unwrap();
    let _server = stage.start();
    let collected = stage.portcullis_command().arg("gc").run_ok();
    assert!(collected.stderr.contains("warning: repository UPPER was left out"), "{collected}");
    assert!(collected.stderr.contains("hint: `portcullis fsck` lists the damage"), "{collected}");
    // A repair cannot move wrong bytes to a place in the quarantine where a folder is.
    let wrong = blob(&stage, &digest(b"content"), Some(b"c0ntent"));
    let data = stage.path("data");
    fs::create_dir_all(data.join("portcullis/quarantine").join(wrong.strip_prefix(&data).unwrap())).unwrap();
    let failed = stage.portcullis_command().args(["fsck", "--repair"]).run_failing();
    assert!(failed.stderr.contains("error: the server reports: "), "{failed}");
}

#[test]
fn a_repair_beside_a_server_reports_what_one_without_a_server_does() {
    let report = |with_server: bool| {
        let stage = ServerDir::new();
        let path = blob(&stage, &digest(b"content"), Some(b"c0ntent"));
        let server = with_server.then(|| stage.start());
        let repaired = stage.portcullis_command().args(["fsck", "--repair"]).run_failing();
        assert!(!path.exists(), "moved to the quarantine");
        assert!(repaired.stderr.contains("1 items cannot be served"), "{repaired}");
        if let Some(server) = server {
            assert!(server.log().contains("damage found by a repair"), "{}", server.log());
            server.assert_serving();
        }
        repaired.stdout
    };
    let beside = report(true);
    assert!(beside.contains(r#""damage":"wrong-bytes""#) && beside.contains(r#""repair":"quarantined""#), "{beside}");
    assert_eq!(beside, report(false));
}

#[test]
fn requests_of_another_version_or_program_are_refused_in_words() {
    let stage = ServerDir::new();
    let _server = stage.start();
    for (line, expected) in [
        ("{\"version\":99,\"request\":\"repair\"}\n", "version 99"),
        ("{\"version\":1,\"request\":\"dance\"}\n", "does not understand"),
        ("GET / HTTP/1.1\n", "not a request of a portcullis command"),
    ] {
        let event = next_event(&mut request(&stage, line));
        assert_eq!(event["event"], json!("failed"), "{event}");
        assert!(event["error"].as_str().unwrap().contains(expected), "{event}");
    }
}

#[test]
fn another_account_is_refused_and_the_audit_trail_names_it() {
    let stage = ServerDir::new();
    stage.configure("[log]\naudit = \"audit.jsonl\"");
    let server = stage.start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket(&stage)), 0o600);
    let connect = || {
        let program = "import socket, sys\nconnection = socket.socket(socket.AF_UNIX)\n\
                       connection.connect(sys.argv[1])\nprint(connection.makefile().read())";
        let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"];
        let tool =
            ToolCommand::new("setpriv").args(ids).arg(require("python3")).args(["-c", program]).arg(socket(&stage));
        tool.folder(Path::new("/"))
    };
    // As if the operator had opened everything up to the socket, and then the socket.
    for folder in [stage.folder().to_owned(), stage.path("data"), stage.path("data/portcullis")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    connect().run_failing().assert_prints_one_of(&["PermissionError"]);
    fs::set_permissions(socket(&stage), fs::Permissions::from_mode(0o666)).unwrap();
    connect().run_ok().assert_prints_one_of(&["uid 65534 may not make requests"]);
    server.assert_log_contains("connection to the admin socket refused");
    let trail = fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    let refused = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<Value> = refused.filter(|event| event["event"] == json!("admin_connection_refused")).collect();
    assert_eq!((refused.len(), &refused[0]["uid"]), (1, &json!(65534)), "{trail}");
}

#[test]
fn the_command_of_another_account_is_told_which_account_to_use() {
    let stage = ServerDir::new();
    let server = stage.start();
    for folder in [stage.folder().to_owned(), stage.path("data"), stage.path("data/portcullis")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The folder of the program may be closed to other accounts.
    let program = stage.path("program");
    fs::copy(BINARY, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"];
    let run = |words: &[&str]| {
        ToolCommand::new("setpriv").args(ids).arg(&program).args(words).folder(stage.folder()).run_failing()
    };
    for words in [&["token", "create", "ci", "--user", "alice"][..], &["token", "revoke", "ci"], &["gc"]] {
        // The lock is closed to it, or else the socket.
        for mode in [0o600, 0o666] {
            fs::set_permissions(stage.path("data/portcullis/lock"), fs::Permissions::from_mode(mode)).unwrap();
            let failed = run(words);
            assert!(failed.stdout.is_empty() && failed.stderr.contains("Permission denied"), "{failed}");
            assert!(
                failed.stderr.contains("hint: run the command as the account of the server, or as root"),
                "{failed}"
            );
        }
    }
    server.assert_serving();
}

#[test]
fn the_socket_of_a_killed_server_is_replaced_and_misleads_no_command() {
    let stage = ServerDir::new();
    let kill = |mut server: PortcullisServer| {
        server.daemon.signal(Signal::KILL);
        assert!(server.daemon.wait_for_exit(DEADLINE).is_some());
        assert!(socket(&stage).exists(), "a killed server removes nothing");
    };
    let server = stage.start();
    assert!(eventually(DEADLINE, || socket(&stage).exists()));
    kill(server);
    let server = stage.start();
    stage.portcullis_command().arg("gc").run_ok();
    server.assert_log_contains("garbage collected");
    kill(server);
    stage.portcullis_command().arg("gc").run_ok();
    assert!(!socket(&stage).exists(), "a command with the lock removes it");
}

#[test]
fn a_data_folder_with_a_long_path_has_a_socket_too() {
    let stage = ServerDir::new();
    let root = stage.path(&["x".repeat(100), "y".repeat(100)].join("/"));
    stage.configure(&format!("[storage.filesystem]\nroot = \"{}\"", root.display()));
    let server = stage.start();
    assert!(eventually(DEADLINE, || root.join("portcullis/admin.sock").exists()), "{}", server.log());
    stage.portcullis_command().arg("gc").run_ok();
    server.assert_log_contains("garbage collected");
}

#[test]
fn a_rotated_key_and_a_renewed_certificate_are_loaded_when_their_commands_end() {
    let stage = ServerDir::new();
    let server = stage.start();
    assert!(eventually(DEADLINE, || socket(&stage).exists()));
    let rotated = stage.portcullis_command().args(["token", "rotate"]).run_ok();
    assert!(rotated.stderr.contains("the running server has loaded the keys"), "{rotated}");
    let renewed = stage.portcullis_command().args(["cert", "renew"]).run_ok();
    assert!(renewed.stderr.contains("the running server has loaded it"), "{renewed}");
    // The poll of the key file may have been first, and then its line comes a moment later.
    server.assert_log_contains("token keys reloaded");
    server.assert_log_contains("certificate replaced");
}

#[test]
fn the_requests_folder_of_an_earlier_version_is_removed_at_the_start() {
    let stage = ServerDir::new();
    let request = stage.path("data/portcullis/requests/11111111-2222-4333-8444-555555555555");
    fs::create_dir_all(&request).unwrap();
    fs::write(request.join("request"), r#"{"request":"collect"}"#).unwrap();
    let _server = stage.start();
    assert!(eventually(DEADLINE, || !stage.path("data/portcullis/requests").exists()));
}

#[test]
fn a_server_that_can_have_no_socket_serves_and_its_commands_say_why_they_cannot_reach_it() {
    let stage = ServerDir::new();
    let mut command = Command::new(require("strace"));
    // With -D, the started process is the server, and strace its detached grandchild. The first `bind` is that of the
    // address, the second that of the socket.
    command.args(["-D", "-f", "-o", "/dev/null", "-e", "trace=bind", "-e", "inject=bind:error=EOPNOTSUPP:when=2"]);
    command.args([BINARY, "serve"]).current_dir(stage.folder());
    let server = stage.start_as(command);
    server.assert_serving();
    server.assert_log_contains("cannot create the admin socket");
    for words in [&["gc"][..], &["fsck", "--repair"]] {
        let failed = stage.portcullis_command().args(words).run_failing();
        assert!(failed.stderr.contains("could not create its socket"), "{failed}");
        assert!(failed.stderr.contains("Operation not supported") && failed.stderr.contains("hint: stop"), "{failed}");
    }
    stage.portcullis_command().args(["gc", "--dry-run"]).run_ok();
    let rotated = stage.portcullis_command().args(["token", "rotate"]).run_ok();
    assert!(!rotated.stderr.contains("the running server"), "{rotated}");
    // A token that leaked must be revocable. The server reads the records again after a second.
    let secret = stage.portcullis_command().args(["token", "create", "ci", "--user", "alice"]).run_ok().stdout;
    let header = basic(&format!("alice:{}", secret.trim_end()));
    server.request("GET", "/v2/", &[&header], b"").expect(200);
    stage.portcullis_command().args(["token", "revoke", "ci"]).run_ok();
    assert!(eventually(DEADLINE, || server.request("GET", "/v2/", &[&header], b"").status == 401));
    drop(server);
    stage.portcullis_command().arg("gc").run_ok();
}
