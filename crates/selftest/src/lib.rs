//! Tests a registry as docker, containerd and podman use it: name, connection, TLS, trust, login, push, pull and
//! delete.
//!
//! Each failed step is reported with its cause and a fix.
//!
//! Invariant: no password is sent before the server's certificate was accepted by the trust settings of a client or by
//! `--ca`, and then only over connections that present this same certificate.

mod challenge;
mod connect;
mod exchange;
mod fault;
mod image;
mod judge;
mod machine;
mod refused;
mod sign_in;
mod target;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::SystemTime,
};

use aws_lc_rs::rand::SecureRandom;
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio_rustls::client::TlsStream;

use portcullis_auth::Password;
use portcullis_oci::RepositoryName;
use portcullis_tls as tls;

use exchange::{Caller, Question};
use image::Image;
use judge::Chain;
use machine::{Client, Trust};
use sign_in::SignIn;

pub use fault::Fault;
pub use machine::Machine;
pub use target::{InvalidTarget, Target};

/// The input of the test.
pub struct Plan {
    /// The registry to test.
    pub target: Target,
    /// The user who signs in, with the password; `None` for a test without login.
    pub user: Option<(String, Password)>,
    /// A file of authorities that replaces the trust settings of the clients on this machine.
    pub authorities: Option<PathBuf>,
    /// The repository that the image is pushed to; `None` for the default.
    pub repository: Option<RepositoryName>,
}

/// A line of the report, emitted while the test runs: the name of a step and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A step begins; it may take a while.
    Begins(&'static str),
    /// The step succeeded.
    Ok(&'static str, String),
    /// The step succeeded or was skipped, with a remark.
    Note(&'static str, String),
    /// The step failed.
    Failed(&'static str, Fault),
}

/// Runs the steps in order, until a failure makes the next one pointless. Returns the name of the first step that
/// failed.
pub async fn run(
    plan: &Plan,
    machine: &Machine,
    now: SystemTime,
    random: &dyn SecureRandom,
    say: &mut dyn FnMut(Line),
) -> Option<&'static str> {
    let mut run = Run { plan, machine, now, say, failed: None };
    // Every failure was reported when it occurred.
    let _ = run.all(random).await;
    run.failed
}

struct Run<'a> {
    plan: &'a Plan,
    machine: &'a Machine,
    now: SystemTime,
    say: &'a mut dyn FnMut(Line),
    failed: Option<&'static str>,
}

/// A failure, already reported, after which the test cannot continue.
struct Stopped;

impl Run<'_> {
    async fn all(&mut self, random: &dyn SecureRandom) -> Result<(), Stopped> {
        let target = &self.plan.target;
        self.mention_proxy();
        let addresses = self.addresses().await?;
        let address = self.connect(&addresses).await?;
        let chain = self.certificate(address).await?;
        self.trust(address, &chain)?;
        for note in chain.notes(self.now) {
            (self.say)(Line::Note("chain", fault::plain(&note)));
        }

        let config = tls::unverified_client().map_err(|_| Stopped)?;
        let caller = Caller { target, address, config, certificate: chain.first().clone() };
        let (challenge, date) = self.ping(&caller).await?;
        self.clock(date.as_deref());
        let user = self.plan.user.as_ref().map(|(name, password)| (name.as_str(), password));
        let repository = self.repository();
        let sign_in = SignIn { caller: &caller, challenge: challenge.as_ref(), user };
        let authorization = self.sign_in(&sign_in).await?;
        let Some(repository) = repository else {
            (self.say)(Line::Note(
                "push",
                "not tried: name a user with --user, or a repository with --repository".to_owned(),
            ));
            return Ok(());
        };
        let scoped = match &challenge {
            Some(_) if authorization.is_some() => {
                let scope = format!("repository:{repository}:pull,push,delete");
                let fetched = sign_in.authorization(Some(&scope)).await;
                Some(self.step("token", fetched.map(|value| (format!("for {repository}"), value)))?)
            }
            Some(_) | None => None,
        };
        let mut layer = vec![0; image::SIZE];
        random.fill(&mut layer).map_err(|_| Stopped)?;
        let name = user.map(|(name, _)| name);
        let image =
            Image::new(&caller, name, scoped.as_ref().map(|text| text.as_str()), &repository, Bytes::from(layer));
        self.image(&image).await
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, Stopped> {
        (self.say)(Line::Begins("resolve"));
        let found = connect::resolve(&self.plan.target).await;
        let told = |addresses: Vec<SocketAddr>| {
            let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            (format!("{} is {}", self.plan.target.host, list.join(", ")), addresses)
        };
        self.step("resolve", found.map(told))
    }

    /// Connects to every address; one that works is enough for clients.
    async fn connect(&mut self, addresses: &[SocketAddr]) -> Result<SocketAddr, Stopped> {
        let (mut first, mut faults) = (None, Vec::new());
        for address in addresses {
            (self.say)(Line::Begins("connect"));
            match connect::connect(*address).await {
                Ok(_) => {
                    (self.say)(Line::Ok("connect", address.to_string()));
                    first.get_or_insert(*address);
                }
                Err(error) => faults.push(connect::unreachable(*address, &error)),
            }
        }
        for fault in faults {
            if first.is_some() {
                (self.say)(Line::Note("connect", format!("{}; clients try the next address", fault.sentence)));
            } else {
                self.fail("connect", fault);
            }
        }
        first.ok_or(Stopped)
    }

    async fn certificate(&mut self, address: SocketAddr) -> Result<Chain, Stopped> {
        (self.say)(Line::Begins("tls"));
        let target = &self.plan.target;
        let config = tls::unverified_client().map_err(|_| Stopped)?;
        // A new connection: the server may have closed the first one while other addresses were tried.
        let shaken = match connect::connect(address).await {
            Err(error) => Err(connect::unreachable(address, &error)),
            Ok(stream) => match connect::shake_hands(stream, target, config).await {
                Ok(stream) => Ok((version(&stream).to_owned(), stream)),
                Err(error) => Err(connect::no_handshake(address, target, &error).await),
            },
        };
        let stream = self.step("tls", shaken)?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = Chain::read(shown.iter().map(|der| der.clone().into_owned()).collect());
        let judged = chain.and_then(|chain| match chain.fault(target, self.now) {
            Some(fault) => Err(fault),
            None => Ok((format!("for {}, until {}", target.host, chain.leaf.ends()), chain)),
        });
        self.step("certificate", judged)
    }

    /// Verifies the certificate with the trust settings of each installed client. The test continues if one accepts it.
    fn trust(&mut self, address: SocketAddr, chain: &Chain) -> Result<(), Stopped> {
        let (plan, machine) = (self.plan, self.machine);
        let clients = machine.clients();
        if let Some(file) = &plan.authorities {
            let trust = Trust {
                own: vec![file.clone()],
                system: None,
                blind: None,
                remedy: format!("--ca {}", file.display()),
            };
            return self.vouched("trust", "", &trust, chain).map(drop);
        }
        if clients.is_empty() {
            (self.say)(Line::Note("trust", "neither docker nor containerd nor podman is installed here".to_owned()));
            let trust =
                Trust { own: Vec::new(), system: machine.system(), blind: None, remedy: "--ca ca.crt".to_owned() };
            return self.vouched("trust", "the system: ", &trust, chain).map(drop);
        }
        let mut is_trusted = false;
        for client in clients {
            is_trusted |= self.client(client, address, chain);
        }
        if !is_trusted && self.failed.is_none() {
            let words = "no client here verifies the certificate: an attacker on the network could read the password";
            let fix = "remove skip_verify and name the authority instead, or name it here with --ca ca.crt";
            self.fail("trust", Fault::new(words, fix));
        }
        if is_trusted { Ok(()) } else { Err(Stopped) }
    }

    /// Whether this client's trust settings permit to send a password to the server.
    fn client(&mut self, client: Client, address: SocketAddr, chain: &Chain) -> bool {
        let step = client.name();
        // Docker treats 127.0.0.0/8 as insecure registries; the loopback interface cannot be intercepted.
        let is_loopback = matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if client == Client::Docker && is_loopback {
            (self.say)(Line::Note(step, "does not verify certificates on 127.0.0.0/8".to_owned()));
            return true;
        }
        let trust = self.machine.trust(client, &self.plan.target);
        if let Some(file) = &trust.blind {
            (self.say)(Line::Note(step, format!("does not verify certificates: skip_verify in {}", file.display())));
            return false;
        }
        self.vouched(step, "", &trust, chain).is_ok()
    }

    fn vouched(&mut self, step: &'static str, who: &str, trust: &Trust, chain: &Chain) -> Result<(), Stopped> {
        let vouched = chain.vouched(trust, &self.plan.target, self.now);
        self.step(step, vouched.map(|file| (format!("{who}trusted because of {}", file.display()), ())))
    }

    async fn ping(&mut self, caller: &Caller<'_>) -> Result<(Option<challenge::Challenge>, Option<String>), Stopped> {
        (self.say)(Line::Begins("ping"));
        let asked = caller.ask(Question::new(Method::GET, "/v2/")).await;
        let answer = self.step("ping", asked.and_then(|answer| sign_in::is_registry(caller.target, answer)))?;
        let date = answer.header(&http::header::DATE).map(str::to_owned);
        if answer.status == StatusCode::OK {
            let words = "none: the registry allows anonymous access, and docker login accepts any password here";
            (self.say)(Line::Note("challenge", words.to_owned()));
            return Ok((None, date));
        }
        let read = challenge::Challenge::read(&answer, caller.target);
        let challenge = self.step("challenge", read.map(|challenge| (sign_in::told(&challenge), challenge)))?;
        Ok((Some(challenge), date))
    }

    /// Compares the clocks: tokens are accepted up to a minute before and after their time.
    fn clock(&mut self, date: Option<&str>) {
        let Some(theirs) = date.and_then(sign_in::http_date) else { return };
        let apart = theirs.duration_since(self.now).unwrap_or_else(|error| error.duration()).as_secs();
        if apart <= 60 {
            (self.say)(Line::Ok("clock", "the clocks of this machine and the server agree".to_owned()));
            return;
        }
        let (ours, theirs) = (tls::date(self.now), tls::date(theirs));
        self.fail(
            "clock",
            Fault::new(
                format!("the clocks are {apart} seconds apart: here it is {ours}, on the server {theirs}"),
                "set the wrong one: 'timedatectl set-ntp true'; tokens and certificates depend on the right time",
            ),
        );
    }

    /// Signs in, and returns the `Authorization` value for later requests; `None` if none is needed.
    async fn sign_in(&mut self, sign_in: &SignIn<'_>) -> Result<Option<sign_in::Authorization>, Stopped> {
        if sign_in.challenge.is_none() {
            return Ok(None);
        }
        (self.say)(Line::Begins("sign in"));
        let Some((user, _)) = sign_in.user else {
            if sign_in.challenge == Some(&challenge::Challenge::Basic) {
                (self.say)(Line::Note("sign in", "not tried: name a user with --user".to_owned()));
                return Ok(None);
            }
            let fetched = sign_in.authorization(None).await;
            return self.step("token", fetched.map(|value| ("for anonymous".to_owned(), Some(value))));
        };
        let fetched = sign_in.authorization(None).await;
        let value = self.step("token", fetched.map(|value| (format!("for {user}"), value)))?;
        let pinged = sign_in.ping(&value).await;
        self.step("sign in", pinged.map(|()| (format!("/v2/ accepts {user}"), ())))?;
        Ok(Some(value))
    }

    /// The repository of the image: the given one, or `selftest` below the user's name; `None` without either.
    fn repository(&self) -> Option<RepositoryName> {
        let own = self.plan.user.as_ref().map(|(name, _)| {
            let below = format!("{}/selftest", name.to_lowercase()).parse();
            below.unwrap_or_else(|_| "selftest/selftest".parse().expect("this is a repository's name"))
        });
        self.plan.repository.clone().or(own)
    }

    async fn image(&mut self, image: &Image<'_>) -> Result<(), Stopped> {
        (self.say)(Line::Begins("push"));
        let pushed = image.push().await;
        self.step("push", pushed.map(|told| (told, ())))?;
        (self.say)(Line::Begins("pull"));
        let pulled = image.pull().await;
        // The image is deleted even if the pull failed.
        let pulled = self.step("pull", pulled.map(|told| (told, ())));
        (self.say)(Line::Begins("delete"));
        match image.delete().await {
            Ok(None) => (self.say)(Line::Ok("delete", "the pushed image is deleted".to_owned())),
            Ok(Some(stays)) => (self.say)(Line::Note("delete", stays)),
            Err(fault) => self.fail("delete", fault),
        }
        pulled
    }

    fn mention_proxy(&mut self) {
        if let Some(proxy) = &self.machine.proxy {
            // The part before the `@` may contain a password.
            let place = proxy.rsplit('@').next().unwrap_or_default();
            let words = format!(
                "clients use the proxy {place} (HTTPS_PROXY) unless NO_PROXY excludes the registry; this test does not"
            );
            (self.say)(Line::Note("proxy", fault::plain(&words)));
        }
    }

    /// Reports the outcome of a step, and returns its value.
    fn step<T>(&mut self, step: &'static str, ended: Result<(String, T), Fault>) -> Result<T, Stopped> {
        match ended {
            Ok((told, value)) => {
                (self.say)(Line::Ok(step, fault::plain(&told)));
                Ok(value)
            }
            Err(fault) => {
                self.fail(step, fault);
                Err(Stopped)
            }
        }
    }

    fn fail(&mut self, step: &'static str, fault: Fault) {
        self.failed.get_or_insert(step);
        (self.say)(Line::Failed(step, fault));
    }
}

fn version<S>(stream: &TlsStream<S>) -> &'static str
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(_) | None => "TLS",
    }
}
