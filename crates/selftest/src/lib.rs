//! Tests a registry as docker, containerd and podman use it: name, connection, TLS, trust, login, push, pull and
//! delete.
//!
//! Each failed step is reported with its cause and a fix.
//!
//! Invariant: no password is sent to the registry, or to a token endpoint on another server, before that server's
//! certificate was accepted by the trust settings of a client or by `--ca`, and then only over connections that present
//! this same certificate.

mod certificate_check;
mod challenge;
mod client_certificate;
mod client_trust;
mod connect;
mod diagnosis;
mod failed_request;
mod folder_files;
mod http_client;
mod login;
mod push_pull;
mod server_steps;
mod target;

use std::{path::PathBuf, time::SystemTime};

use aws_lc_rs::rand::SecureRandom;
use bytes::Bytes;
use http::{Method, StatusCode};

use portcullis_auth::Password;
use portcullis_oci::RepositoryName;
use portcullis_tls as tls;

use challenge::AuthChallenge;
use http_client::{RegistryRequest, SelfTestClient};
use login::Login;
use push_pull::TestImage;

pub use client_certificate::ClientCertificateFiles;
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
    /// A client certificate that replaces those of the clients on this machine.
    pub client_certificate: Option<ClientCertificateFiles>,
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
        self.note_proxy();
        let config = self.client_config()?;
        let caller = self.reach(&self.plan.target, &config, None).await?;
        let (challenge, date) = self.ping(&caller).await?;
        self.compare_clocks(date.as_deref());
        let token_server = match &challenge {
            Some(AuthChallenge::Bearer { endpoint, .. }) => endpoint.server.as_ref(),
            Some(AuthChallenge::Basic) | None => None,
        };
        let token_caller = match token_server {
            Some(server) => Some(self.reach_token_server(server, &config, &caller).await?),
            None => None,
        };
        let user = self.plan.user.as_ref().map(|(name, password)| (name.as_str(), password));
        let repository = self.repository();
        let sign_in =
            Login { caller: &caller, token_caller: token_caller.as_ref(), challenge: challenge.as_ref(), user };
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

    async fn ping(
        &mut self,
        caller: &SelfTestClient<'_>,
    ) -> Result<(Option<AuthChallenge>, Option<String>), CannotContinue> {
        (self.report)(ReportLine::Started("ping"));
        let asked = caller.send(RegistryRequest::new(Method::GET, "/v2/")).await;
        let answer = self.finish_step("ping", asked.and_then(|answer| login::check_ping(caller.target, answer)))?;
        let date = answer.header(&http::header::DATE).map(str::to_owned);
        if answer.status == StatusCode::OK {
            let words = "none: the registry allows anonymous access, and docker login accepts any password here";
            (self.report)(ReportLine::Note("challenge", words.to_owned()));
            return Ok((None, date));
        }
        let read = AuthChallenge::parse(&answer, caller.target);
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
            if sign_in.challenge == Some(&AuthChallenge::Basic) {
                (self.report)(ReportLine::Note("sign in", "not tried: name a user with --user".to_owned()));
                return Ok(None);
            }
            let fetched = sign_in.authorization(None).await;
            return self.finish_step("token", fetched.map(|value| ("without a user".to_owned(), Some(value))));
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
