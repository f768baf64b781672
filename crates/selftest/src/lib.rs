//! Tests a registry as docker, containerd and podman use it: name, connection, TLS, trust, login, push, pull and
//! delete.
//!
//! Each failed step is reported with its cause and a fix.
//!
//! Invariant: no password is sent before the server's certificate was accepted by the trust settings of a client or by
//! `--ca`, and then only over connections that present this same certificate.

mod certificate_check;
mod challenge;
mod client_trust;
mod connect;
mod diagnosis;
mod failed_request;
mod http_client;
mod login;
mod push_pull;
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

use certificate_check::PresentedChain;
use client_trust::{ClientTrustSettings, ContainerClient};
use http_client::{RegistryRequest, SelfTestClient};
use login::Login;
use push_pull::TestImage;

pub use client_trust::ClientEnvironment;
pub use diagnosis::Diagnosis;
pub use target::{InvalidRegistryTarget, RegistryTarget};

/// The input of the test.
pub struct TestPlan {
    /// The registry to test.
    pub target: RegistryTarget,
    /// The user who signs in, with the password; `None` for a test without login.
    pub user: Option<(String, Password)>,
    /// A file of authorities that replaces the trust settings of the clients on this machine.
    pub authorities: Option<PathBuf>,
    /// The repository that the image is pushed to; `None` for the default.
    pub repository: Option<RepositoryName>,
}

/// A line of the report, emitted while the test runs: the name of a step and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportLine {
    /// A step begins; it may take a while.
    Started(&'static str),
    /// The step succeeded.
    Ok(&'static str, String),
    /// The step succeeded or was skipped, with a remark.
    Note(&'static str, String),
    /// The step failed.
    Failed(&'static str, Diagnosis),
}

/// Runs the steps in order, until a failure makes the next one pointless. Returns the name of the first step that
/// failed.
pub async fn run(
    plan: &TestPlan,
    machine: &ClientEnvironment,
    now: SystemTime,
    random: &dyn SecureRandom,
    report: &mut dyn FnMut(ReportLine),
) -> Option<&'static str> {
    let mut run = SelfTest { plan, machine, now, report, failed: None };
    // Every failure was reported when it occurred.
    let _ = run.run_steps(random).await;
    run.failed
}

struct SelfTest<'a> {
    plan: &'a TestPlan,
    machine: &'a ClientEnvironment,
    now: SystemTime,
    report: &'a mut dyn FnMut(ReportLine),
    failed: Option<&'static str>,
}

/// A failure, already reported, after which the test cannot continue.
struct CannotContinue;

impl SelfTest<'_> {
    async fn run_steps(&mut self, random: &dyn SecureRandom) -> Result<(), CannotContinue> {
        let target = &self.plan.target;
        self.note_proxy();
        let addresses = self.addresses().await?;
        let address = self.connect(&addresses).await?;
        let chain = self.certificate(address).await?;
        self.trust(address, &chain)?;
        for note in chain.notes(self.now) {
            (self.report)(ReportLine::Note("chain", diagnosis::single_line(&note)));
        }

        let config = tls::unverified_client().map_err(|_| CannotContinue)?;
        let caller = SelfTestClient { target, address, config, certificate: chain.server_certificate().clone() };
        let (challenge, date) = self.ping(&caller).await?;
        self.compare_clocks(date.as_deref());
        let user = self.plan.user.as_ref().map(|(name, password)| (name.as_str(), password));
        let repository = self.repository();
        let sign_in = Login { caller: &caller, challenge: challenge.as_ref(), user };
        let authorization = self.login(&sign_in).await?;
        let Some(repository) = repository else {
            (self.report)(ReportLine::Note(
                "push",
                "not tried: name a user with --user, or a repository with --repository".to_owned(),
            ));
            return Ok(());
        };
        let scoped = match &challenge {
            Some(_) if authorization.is_some() => {
                let scope = format!("repository:{repository}:pull,push,delete");
                let fetched = sign_in.authorization(Some(&scope)).await;
                Some(self.finish_step("token", fetched.map(|value| (format!("for {repository}"), value)))?)
            }
            Some(_) | None => None,
        };
        let mut layer = vec![0; push_pull::LAYER_BYTES];
        random.fill(&mut layer).map_err(|_| CannotContinue)?;
        let name = user.map(|(name, _)| name);
        let image =
            TestImage::new(&caller, name, scoped.as_ref().map(|text| text.as_str()), &repository, Bytes::from(layer));
        self.push_pull_delete(&image).await
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, CannotContinue> {
        (self.report)(ReportLine::Started("resolve"));
        let found = connect::resolve(&self.plan.target).await;
        let describe = |addresses: Vec<SocketAddr>| {
            let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            (format!("{} is {}", self.plan.target.host, list.join(", ")), addresses)
        };
        self.finish_step("resolve", found.map(describe))
    }

    /// Connects to every address; one that works is enough for clients.
    async fn connect(&mut self, addresses: &[SocketAddr]) -> Result<SocketAddr, CannotContinue> {
        let (mut first, mut faults) = (None, Vec::new());
        for address in addresses {
            (self.report)(ReportLine::Started("connect"));
            match connect::connect(*address).await {
                Ok(_) => {
                    (self.report)(ReportLine::Ok("connect", address.to_string()));
                    first.get_or_insert(*address);
                }
                Err(error) => faults.push(connect::diagnose_connect(*address, &error)),
            }
        }
        for fault in faults {
            if first.is_some() {
                (self.report)(ReportLine::Note("connect", format!("{}; clients try the next address", fault.cause)));
            } else {
                self.fail("connect", fault);
            }
        }
        first.ok_or(CannotContinue)
    }

    async fn certificate(&mut self, address: SocketAddr) -> Result<PresentedChain, CannotContinue> {
        (self.report)(ReportLine::Started("tls"));
        let target = &self.plan.target;
        let config = tls::unverified_client().map_err(|_| CannotContinue)?;
        // A new connection: the server may have closed the first one while other addresses were tried.
        let shaken = match connect::connect(address).await {
            Err(error) => Err(connect::diagnose_connect(address, &error)),
            Ok(stream) => match connect::tls_handshake(stream, target, config).await {
                Ok(stream) => Ok((tls_version(&stream).to_owned(), stream)),
                Err(error) => Err(connect::diagnose_handshake(address, target, &error).await),
            },
        };
        let stream = self.finish_step("tls", shaken)?;
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = PresentedChain::read(presented.iter().map(|der| der.clone().into_owned()).collect());
        let checked = chain.and_then(|chain| match chain.check_leaf(target, self.now) {
            Some(fault) => Err(fault),
            None => Ok((format!("for {}, until {}", target.host, chain.leaf.not_after_text()), chain)),
        });
        self.finish_step("certificate", checked)
    }

    /// Verifies the certificate with the trust settings of each installed client. The test continues if one accepts it.
    fn trust(&mut self, address: SocketAddr, chain: &PresentedChain) -> Result<(), CannotContinue> {
        let (plan, machine) = (self.plan, self.machine);
        let clients = machine.clients();
        if let Some(file) = &plan.authorities {
            let trust = ClientTrustSettings {
                registry_files: vec![file.clone()],
                system_file: None,
                skip_verify_file: None,
                remedy: format!("--ca {}", file.display()),
            };
            return self.verify_trust("trust", "", &trust, chain).map(drop);
        }
        if clients.is_empty() {
            (self.report)(ReportLine::Note(
                "trust",
                "neither docker nor containerd nor podman is installed here".to_owned(),
            ));
            let trust = ClientTrustSettings {
                registry_files: Vec::new(),
                system_file: machine.system_bundle(),
                skip_verify_file: None,
                remedy: "--ca ca.crt".to_owned(),
            };
            return self.verify_trust("trust", "the system: ", &trust, chain).map(drop);
        }
        let mut is_trusted = false;
        for client in clients {
            is_trusted |= self.check_client(client, address, chain);
        }
        if !is_trusted && self.failed.is_none() {
            let words = "no client here verifies the certificate: an attacker on the network could read the password";
            let fix = "remove skip_verify and name the authority instead, or name it here with --ca ca.crt";
            self.fail("trust", Diagnosis::new(words, fix));
        }
        if is_trusted { Ok(()) } else { Err(CannotContinue) }
    }

    /// Whether this client's trust settings permit to send a password to the server.
    fn check_client(&mut self, client: ContainerClient, address: SocketAddr, chain: &PresentedChain) -> bool {
        let step = client.name();
        // Docker treats 127.0.0.0/8 as insecure registries; the loopback interface cannot be intercepted.
        let is_loopback = matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if client == ContainerClient::Docker && is_loopback {
            (self.report)(ReportLine::Note(step, "does not verify certificates on 127.0.0.0/8".to_owned()));
            return true;
        }
        let trust = self.machine.trust_settings(client, &self.plan.target);
        if let Some(file) = &trust.skip_verify_file {
            (self.report)(ReportLine::Note(
                step,
                format!("does not verify certificates: skip_verify in {}", file.display()),
            ));
            return false;
        }
        self.verify_trust(step, "", &trust, chain).is_ok()
    }

    fn verify_trust(
        &mut self,
        step: &'static str,
        who: &str,
        trust: &ClientTrustSettings,
        chain: &PresentedChain,
    ) -> Result<(), CannotContinue> {
        let vouched = chain.verify(trust, &self.plan.target, self.now);
        self.finish_step(step, vouched.map(|file| (format!("{who}trusted because of {}", file.display()), ())))
    }

    async fn ping(
        &mut self,
        caller: &SelfTestClient<'_>,
    ) -> Result<(Option<challenge::AuthChallenge>, Option<String>), CannotContinue> {
        (self.report)(ReportLine::Started("ping"));
        let asked = caller.send(RegistryRequest::new(Method::GET, "/v2/")).await;
        let answer = self.finish_step("ping", asked.and_then(|answer| login::check_ping(caller.target, answer)))?;
        let date = answer.header(&http::header::DATE).map(str::to_owned);
        if answer.status == StatusCode::OK {
            let words = "none: the registry allows anonymous access, and docker login accepts any password here";
            (self.report)(ReportLine::Note("challenge", words.to_owned()));
            return Ok((None, date));
        }
        let read = challenge::AuthChallenge::parse(&answer, caller.target);
        let challenge =
            self.finish_step("challenge", read.map(|challenge| (login::describe_challenge(&challenge), challenge)))?;
        Ok((Some(challenge), date))
    }

    /// Compares the clocks: tokens are accepted up to a minute before and after their time.
    fn compare_clocks(&mut self, date: Option<&str>) {
        let Some(theirs) = date.and_then(login::parse_http_date) else { return };
        let apart = theirs.duration_since(self.now).unwrap_or_else(|error| error.duration()).as_secs();
        if apart <= 60 {
            (self.report)(ReportLine::Ok("clock", "the clocks of this machine and the server agree".to_owned()));
            return;
        }
        let (ours, theirs) = (tls::date(self.now), tls::date(theirs));
        self.fail(
            "clock",
            Diagnosis::new(
                format!("the clocks are {apart} seconds apart: here it is {ours}, on the server {theirs}"),
                "set the wrong one: 'timedatectl set-ntp true'; tokens and certificates depend on the right time",
            ),
        );
    }

    /// Signs in, and returns the `Authorization` value for later requests; `None` if none is needed.
    async fn login(&mut self, sign_in: &Login<'_>) -> Result<Option<login::AuthorizationValue>, CannotContinue> {
        if sign_in.challenge.is_none() {
            return Ok(None);
        }
        (self.report)(ReportLine::Started("sign in"));
        let Some((user, _)) = sign_in.user else {
            if sign_in.challenge == Some(&challenge::AuthChallenge::Basic) {
                (self.report)(ReportLine::Note("sign in", "not tried: name a user with --user".to_owned()));
                return Ok(None);
            }
            let fetched = sign_in.authorization(None).await;
            return self.finish_step("token", fetched.map(|value| ("for anonymous".to_owned(), Some(value))));
        };
        let fetched = sign_in.authorization(None).await;
        let value = self.finish_step("token", fetched.map(|value| (format!("for {user}"), value)))?;
        let pinged = sign_in.ping(&value).await;
        self.finish_step("sign in", pinged.map(|()| (format!("/v2/ accepts {user}"), ())))?;
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

    async fn push_pull_delete(&mut self, image: &TestImage<'_>) -> Result<(), CannotContinue> {
        (self.report)(ReportLine::Started("push"));
        let pushed = image.push().await;
        self.finish_step("push", pushed.map(|text| (text, ())))?;
        (self.report)(ReportLine::Started("pull"));
        let pulled = image.pull().await;
        // The image is deleted even if the pull failed.
        let pulled = self.finish_step("pull", pulled.map(|text| (text, ())));
        (self.report)(ReportLine::Started("delete"));
        match image.delete().await {
            Ok(None) => (self.report)(ReportLine::Ok("delete", "the pushed image is deleted".to_owned())),
            Ok(Some(reason)) => (self.report)(ReportLine::Note("delete", reason)),
            Err(fault) => self.fail("delete", fault),
        }
        pulled
    }

    fn note_proxy(&mut self) {
        if let Some(proxy) = &self.machine.proxy {
            // The part before the `@` may contain a password.
            let place = proxy.rsplit('@').next().unwrap_or_default();
            let words = format!(
                "clients use the proxy {place} (HTTPS_PROXY) unless NO_PROXY excludes the registry; this test does not"
            );
            (self.report)(ReportLine::Note("proxy", diagnosis::single_line(&words)));
        }
    }

    /// Reports the outcome of a step, and returns its value.
    fn finish_step<T>(
        &mut self,
        step: &'static str,
        ended: Result<(String, T), Diagnosis>,
    ) -> Result<T, CannotContinue> {
        match ended {
            Ok((text, value)) => {
                (self.report)(ReportLine::Ok(step, diagnosis::single_line(&text)));
                Ok(value)
            }
            Err(fault) => {
                self.fail(step, fault);
                Err(CannotContinue)
            }
        }
    }

    fn fail(&mut self, step: &'static str, fault: Diagnosis) {
        self.failed.get_or_insert(step);
        (self.report)(ReportLine::Failed(step, fault));
    }
}

fn tls_version<S>(stream: &TlsStream<S>) -> &'static str
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(_) | None => "TLS",
    }
}
