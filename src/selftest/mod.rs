//! What docker, containerd and podman do with a registry, step by step, and what it means where it fails.
//!
//! Process floor, and the one part of the program that is a client. Invariant: no password leaves this machine before the
//! certificate was judged by somebody's trust, and then only over connections that show this very certificate.

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

use crate::{auth::Password, oci::RepositoryName, tls};

use exchange::{Caller, Question};
use image::Image;
use judge::Chain;
use machine::{Client, Trust};
use sign_in::SignIn;

pub use fault::Fault;
pub use machine::Machine;
pub use target::{InvalidTarget, Target};

/// What to try.
pub struct Plan {
    /// Which registry.
    pub target: Target,
    /// Who signs in; nobody, if nobody should.
    pub user: Option<(String, Password)>,
    /// Authorities that count instead of what the clients on this machine were told.
    pub authorities: Option<PathBuf>,
    /// Where the image goes.
    pub repository: Option<RepositoryName>,
}

/// What there is to tell while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A step begins; it may take a while.
    Begins(&'static str),
    /// It is as it should be.
    Ok(&'static str, String),
    /// It works, and somebody should know this.
    Note(&'static str, String),
    /// It does not work.
    Failed(&'static str, Fault),
}

/// The steps, one after the other, up to the first that makes the next one pointless. Returns the first that failed.
pub async fn run(
    plan: &Plan,
    machine: &Machine,
    now: SystemTime,
    random: &dyn SecureRandom,
    say: &mut dyn FnMut(Line),
) -> Option<&'static str> {
    let mut run = Run { plan, machine, now, say, failed: None };
    // Whatever went wrong was told when it did.
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

/// There is no point in going on.
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
                "not tried: name somebody with --user, or a repository with --repository".to_owned(),
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

    /// Every address is tried; clients need one.
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
                (self.say)(Line::Note("connect", format!("{}; clients go on with the next address", fault.sentence)));
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
        // Anew: the server's patience with the first connection may have ended while other addresses were tried.
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

    /// Asks each client that is here what it would think. It goes on if one would go on.
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
            let words = "no client here looks at the certificate, so whoever is on the way could take the password";
            let fix = "remove skip_verify and name the authority instead, or name it here with --ca ca.crt";
            self.fail("trust", Fault::new(words, fix));
        }
        if is_trusted { Ok(()) } else { Err(Stopped) }
    }

    /// Whether a password may go there.
    fn client(&mut self, client: Client, address: SocketAddr, chain: &Chain) -> bool {
        let step = client.name();
        // Docker takes 127.0.0.0/8 for insecure registries, and the way there is safe.
        let is_loopback = matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if client == Client::Docker && is_loopback {
            (self.say)(Line::Note(step, "does not look at certificates on 127.0.0.0/8".to_owned()));
            return true;
        }
        let trust = self.machine.trust(client, &self.plan.target);
        if let Some(file) = &trust.blind {
            (self.say)(Line::Note(step, format!("does not look at certificates: skip_verify in {}", file.display())));
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
            let words = "not needed: whoever asks is let in, and docker login takes any password here";
            (self.say)(Line::Note("challenge", words.to_owned()));
            return Ok((None, date));
        }
        let read = challenge::Challenge::read(&answer, caller.target);
        let challenge = self.step("challenge", read.map(|challenge| (sign_in::told(&challenge), challenge)))?;
        Ok((Some(challenge), date))
    }

    /// Tokens have a minute's grace for clocks that differ.
    fn clock(&mut self, date: Option<&str>) {
        let Some(theirs) = date.and_then(sign_in::http_date) else { return };
        let apart = theirs.duration_since(self.now).unwrap_or_else(|error| error.duration()).as_secs();
        if apart <= 60 {
            (self.say)(Line::Ok("clock", "this machine's and the server's agree".to_owned()));
            return;
        }
        let (ours, theirs) = (tls::date(self.now), tls::date(theirs));
        self.fail(
            "clock",
            Fault::new(
                format!("the clocks are {apart} seconds apart: here it is {ours}, on the server {theirs}"),
                "set the one that is wrong: 'timedatectl set-ntp true'; tokens and certificates are good for a time only",
            ),
        );
    }

    /// What later requests carry, if there is anything to carry.
    async fn sign_in(&mut self, sign_in: &SignIn<'_>) -> Result<Option<sign_in::Authorization>, Stopped> {
        if sign_in.challenge.is_none() {
            return Ok(None);
        }
        (self.say)(Line::Begins("sign in"));
        let Some((user, _)) = sign_in.user else {
            if sign_in.challenge == Some(&challenge::Challenge::Basic) {
                (self.say)(Line::Note("sign in", "not tried: name somebody with --user".to_owned()));
                return Ok(None);
            }
            let fetched = sign_in.authorization(None).await;
            return self.step("token", fetched.map(|value| ("for anonymous".to_owned(), Some(value))));
        };
        let fetched = sign_in.authorization(None).await;
        let value = self.step("token", fetched.map(|value| (format!("for {user}"), value)))?;
        let pinged = sign_in.ping(&value).await;
        self.step("sign in", pinged.map(|()| (format!("/v2/ lets {user} in"), ())))?;
        Ok(Some(value))
    }

    /// Where the image goes: where the user was told to, else below the user's own name.
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
        // What was pushed should go, also when it does not come back.
        let pulled = self.step("pull", pulled.map(|told| (told, ())));
        (self.say)(Line::Begins("delete"));
        match image.delete().await {
            Ok(None) => (self.say)(Line::Ok("delete", "what was pushed is gone".to_owned())),
            Ok(Some(stays)) => (self.say)(Line::Note("delete", stays)),
            Err(fault) => self.fail("delete", fault),
        }
        pulled
    }

    fn mention_proxy(&mut self) {
        if let Some(proxy) = &self.machine.proxy {
            // It may hold a password.
            let place = proxy.rsplit('@').next().unwrap_or_default();
            let words = format!(
                "clients would go by way of {place} (HTTPS_PROXY) if NO_PROXY does not say otherwise; this test does not"
            );
            (self.say)(Line::Note("proxy", fault::plain(&words)));
        }
    }

    /// Tells how a step ended.
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
