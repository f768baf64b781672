//! Measures contention for processors: requests with a token during many sign-ins, and sign-ins beside busy processes.
//!
//! The first part compares the latency of a manifest request with a token while 64 clients guess passwords with the
//! latency without guessers. The second part measures the first sign-in at a new server while busy loops run, one more
//! than there are processors.
//!
//! The server is the release binary with bcrypt at cost 10; the load comes from the same machine and shares its
//! processors. Every guesser has an address of its own in 127.0.0.0/8. With the default lockout the server soon answers
//! them with 429. A second run practically disables the lockout, to measure the protection of other clients without it.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the time of the system")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::{
    fs,
    net::{IpAddr, TcpListener},
    num::NonZeroUsize,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use reqwest::{Certificate, Client, ClientBuilder, StatusCode};
use serde_json::Value;

const GUESSERS: u8 = 64;
const REQUESTS: usize = 20_000;
const SIGN_INS: usize = 5;
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("| load | p50 | p99 | p99 against calm | responses to the guessers |\n|---|---|---|---|---|");
    let calm = measure("none", 10, 0, Duration::ZERO).await;
    measure("64 guessers", 10, GUESSERS, calm).await;
    measure("64 guessers without lockout", 10_000, GUESSERS, calm).await;
    println!("\n| first sign-in | median | worst |\n|---|---|---|");
    measure_sign_ins("nothing else runs", 0).await;
    let loops = thread::available_parallelism().map_or(1, NonZeroUsize::get) + 1;
    measure_sign_ins(&format!("{loops} busy loops beside the server"), loops).await;
}

/// Prints a row of first sign-ins, each at a new server and on a new connection.
async fn measure_sign_ins(name: &str, loops: usize) {
    let _loops: Vec<_> = (0..loops).map(|_| BusyLoop::start()).collect();
    let mut times = Vec::with_capacity(SIGN_INS);
    for _ in 0..SIGN_INS {
        let server = BenchServer::start(10).await;
        let client = server.client(0);
        let began = Instant::now();
        let answer = client.get(server.url("/token")).basic_auth("alice", Some("wonderland")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        times.push(began.elapsed());
    }
    times.sort();
    println!("| {name} | {:.2} s | {:.2} s |", times[SIGN_INS / 2].as_secs_f64(), times[SIGN_INS - 1].as_secs_f64());
}

/// A process that loops at normal priority.
struct BusyLoop(Child);

impl BusyLoop {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for BusyLoop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures and prints a row, and returns the 99th percentile.
async fn measure(name: &str, attempts: u32, guessers: u8, calm: Duration) -> Duration {
    let server = BenchServer::start(attempts).await;
    let holder = server.token_holder().await;
    for _ in 0..REQUESTS / 10 {
        server.pull(&holder).await;
    }
    let storm: Vec<_> =
        (0..guessers).map(|number| tokio::spawn(guess(server.client(number + 1), server.url("/token")))).collect();
    // Until the guessers have connected: their TLS handshakes use this machine's processors twice, as client and
    // server.
    for _ in 0..REQUESTS / 10 {
        server.pull(&holder).await;
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        times.push(server.pull(&holder).await);
    }
    let mut refused = 0;
    let mut later = 0;
    for guesser in storm {
        guesser.abort();
        let Err(_) = guesser.await else { continue };
    }
    for status in RESPONSES.with_borrow_mut(std::mem::take) {
        if status == StatusCode::UNAUTHORIZED { refused += 1 } else { later += 1 }
    }
    times.sort();
    let (p50, p99) = (times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
    let ratio = if calm.is_zero() { 1.0 } else { p99.as_secs_f64() / calm.as_secs_f64() };
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "| {name} | {:.2} ms | {:.2} ms | {ratio:.1} × | {refused} × 401, {later} × 429 or 503 |",
        milliseconds(p50),
        milliseconds(p99)
    );
    p99
}

thread_local! {
    /// The status codes that the guessers received. All of them run on the one thread of the runtime.
    static RESPONSES: std::cell::RefCell<Vec<StatusCode>> = const { std::cell::RefCell::new(Vec::new()) };
}

async fn guess(client: Client, url: String) {
    for number in 0_u64.. {
        let answer = client.get(&url).basic_auth("alice", Some(format!("guess {number}"))).send().await.unwrap();
        RESPONSES.with_borrow_mut(|tally| tally.push(answer.status()));
        let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse().ok());
        tokio::time::sleep(Duration::from_secs(wait.unwrap_or(0))).await;
    }
}

struct BenchServer {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl BenchServer {
    async fn start(attempts: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "listen = [\"127.0.0.1:{port}\"]\nhostnames = [\"localhost\"]\n[auth.lockout]\nattempts = {attempts}\n"
        );
        fs::write(folder.path().join("portcullis.toml"), text).unwrap();
        let user = format!("alice:{}\n", bcrypt::hash("wonderland", 10).unwrap());
        fs::write(folder.path().join("htpasswd"), user).unwrap();
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_portcullis")));
        let command = command.current_dir(folder.path()).arg("serve").stderr(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        let server = Self { process, folder, port };
        while !server.is_up().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    async fn is_up(&self) -> bool {
        self.folder.path().join("certs/ca.crt").exists()
            && self.client(0).get(self.url("/healthz")).send().await.is_ok()
    }

    /// A client with one connection, from 127.0.0.`address`.
    fn client(&self, address: u8) -> Client {
        let authority = fs::read(self.folder.path().join("certs/ca.crt")).unwrap();
        let builder = ClientBuilder::new().http1_only();
        let builder = builder.tls_certs_only([Certificate::from_pem(&authority).unwrap()]);
        builder.local_address(IpAddr::from([127, 0, 1, address])).build().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Signs in, pushes a manifest, and returns a client with its token.
    async fn token_holder(&self) -> (Client, String) {
        let client = self.client(0);
        let url = self.url("/token?scope=repository:a:pull,push");
        let answer = client.get(url).basic_auth("alice", Some("wonderland")).send().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let token = answer["token"].as_str().unwrap().to_owned();
        let put = client.put(self.url("/v2/a/manifests/1")).bearer_auth(&token).body(MANIFEST);
        let put = put.header("Content-Type", "application/vnd.oci.image.index.v1+json").send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
        (client, token)
    }

    async fn pull(&self, (client, token): &(Client, String)) -> Duration {
        let began = Instant::now();
        let answer = client.get(self.url("/v2/a/manifests/1")).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap(), MANIFEST);
        began.elapsed()
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
