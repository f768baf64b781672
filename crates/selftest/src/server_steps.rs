//! The steps that reach one server: name, connection, TLS, certificate, and the trust of each client. They run for the
//! registry, and once more for a token endpoint on another server.
//!
//! Invariant: [`SelfTest::reach`] returns a client only for a server whose certificate was accepted.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls::ClientConfig;
use tokio_rustls::client::TlsStream;

use super::{
    CannotContinue, Diagnosis, RegistryTarget, ReportLine, SelfTest,
    certificate_check::PresentedChain,
    client_trust::{ClientTrustSettings, ContainerClient, cert_trust_command},
    connect,
    diagnosis::single_line,
    http_client::SelfTestClient,
};
use portcullis_tls as tls;

impl SelfTest<'_> {
    /// The TLS configuration with the client certificate of `--client-cert`, or else of the first client here that has
    /// one for the registry. It verifies no certificates: [`PresentedChain`] does.
    pub(super) fn client_config(&mut self) -> Result<Arc<ClientConfig>, CannotContinue> {
        const STEP: &str = "client certificate";
        let (plan, machine) = (self.plan, self.machine);
        let own = |client: ContainerClient| {
            machine.trust_settings(client, &plan.target).client_certificates.into_iter().next()
        };
        let clients = machine.clients();
        let (files, presented_by) = match &plan.client_certificate {
            Some(files) => (files.clone(), "named here".to_owned()),
            None => match clients.iter().find_map(|client| Some((own(*client)?, *client))) {
                Some((files, client)) => (files, format!("as {} presents it", client.name())),
                None => return tls::unverified_client().map_err(|_| CannotContinue),
            },
        };
        let text = format!("{}, {presented_by}, if a server asks for one", files.certificate.display());
        let config = self.finish_step(STEP, files.load().map(|config| (text, config)))?;
        for client in clients.into_iter().filter(|client| own(*client).is_none()) {
            (self.report)(ReportLine::Note(STEP, format!("{} has none for {}", client.name(), plan.target)));
        }
        Ok(config)
    }

    /// Reaches a server and verifies its certificate. `registry` is the client for the registry if the server is the
    /// token endpoint.
    pub(super) async fn reach<'t>(
        &mut self,
        target: &'t RegistryTarget,
        config: &Arc<ClientConfig>,
        registry: Option<&SelfTestClient<'_>>,
    ) -> Result<SelfTestClient<'t>, CannotContinue> {
        let addresses = self.addresses(target).await?;
        let address = self.connect(&addresses).await?;
        let chain = self.certificate(target, address, config).await?;
        let server = VerifiedServer { target, address, registry: registry.map(|registry| registry.address) };
        self.trust(&server, &chain)?;
        for note in chain.notes(self.now) {
            (self.report)(ReportLine::Note("chain", single_line(&note)));
        }
        let certificate = chain.server_certificate().clone();
        Ok(SelfTestClient { target, address, config: Arc::clone(config), certificate })
    }

    /// Reaches the token endpoint on another server, with what this means for clients.
    pub(super) async fn reach_token_server<'t>(
        &mut self,
        server: &'t RegistryTarget,
        config: &Arc<ClientConfig>,
        registry: &SelfTestClient<'_>,
    ) -> Result<SelfTestClient<'t>, CannotContinue> {
        let registry_host = &registry.target.host;
        let words = format!(
            "tokens are from another server, {server}: clients send it the password, and must resolve, reach and trust it too, by \
             their settings for {}; if this is not intended: let a Portcullis have {registry_host} in its hostnames, and a proxy in \
             front pass the Host header on unchanged",
            registry.target
        );
        (self.report)(ReportLine::Note("challenge", single_line(&words)));
        self.reach(server, config, Some(registry)).await
    }

    async fn addresses(&mut self, target: &RegistryTarget) -> Result<Vec<SocketAddr>, CannotContinue> {
        (self.report)(ReportLine::Started("resolve"));
        let found = connect::resolve(target).await;
        let describe = |addresses: Vec<SocketAddr>| {
            let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            (format!("{} is {}", target.host, list.join(", ")), addresses)
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

    async fn certificate(
        &mut self,
        target: &RegistryTarget,
        address: SocketAddr,
        config: &Arc<ClientConfig>,
    ) -> Result<PresentedChain, CannotContinue> {
        (self.report)(ReportLine::Started("tls"));
        // A new connection: the server may have closed the first one while other addresses were tried.
        let shaken = match connect::connect(address).await {
            Err(error) => Err(connect::diagnose_connect(address, &error)),
            Ok(stream) => match connect::tls_handshake(stream, target, Arc::clone(config)).await {
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
    fn trust(&mut self, server: &VerifiedServer<'_>, chain: &PresentedChain) -> Result<(), CannotContinue> {
        let (plan, machine) = (self.plan, self.machine);
        let clients = machine.clients();
        if let Some(file) = &plan.authorities {
            let trust = ClientTrustSettings {
                registry_files: vec![file.clone()],
                remedy: format!("--ca {}", file.display()),
                ..ClientTrustSettings::default()
            };
            return self.verify_trust("trust", "", &trust, server, chain).map(drop);
        }
        if clients.is_empty() {
            (self.report)(ReportLine::Note(
                "trust",
                "neither docker nor containerd nor podman is installed here".to_owned(),
            ));
            let trust = ClientTrustSettings {
                system_file: machine.system_bundle(),
                remedy: format!("{}; or, for this test alone, --ca ca.crt", server.system_remedy()),
                ..ClientTrustSettings::default()
            };
            return self.verify_trust("trust", "the system: ", &trust, server, chain).map(drop);
        }
        let mut is_trusted = false;
        for client in clients {
            is_trusted |= self.check_client(client, server, chain);
        }
        if !is_trusted && self.failed.is_none() {
            let words = "no client here verifies the certificate: an attacker on the network could read the password";
            let fix = "remove skip_verify and name the authority instead, or name it here with --ca ca.crt";
            self.fail("trust", Diagnosis::new(words, fix));
        }
        if is_trusted { Ok(()) } else { Err(CannotContinue) }
    }

    /// Whether this client's trust settings permit to send a password to the server.
    fn check_client(&mut self, client: ContainerClient, server: &VerifiedServer<'_>, chain: &PresentedChain) -> bool {
        let step = client.name();
        if client == ContainerClient::Docker && server.is_insecure_for_docker() {
            (self.report)(ReportLine::Note(step, "does not verify certificates on 127.0.0.0/8".to_owned()));
            return true;
        }
        // Clients use their settings for the registry with the token endpoint as well.
        let mut trust = self.machine.trust_settings(client, &self.plan.target);
        if let Some(file) = &trust.skip_verify_file {
            (self.report)(ReportLine::Note(
                step,
                format!("does not verify certificates: skip_verify in {}", file.display()),
            ));
            return false;
        }
        if server.registry.is_some() {
            trust.remedy = server.system_remedy();
        }
        self.verify_trust(step, "", &trust, server, chain).is_ok()
    }

    fn verify_trust(
        &mut self,
        step: &'static str,
        who: &str,
        trust: &ClientTrustSettings,
        server: &VerifiedServer<'_>,
        chain: &PresentedChain,
    ) -> Result<(), CannotContinue> {
        let vouched = chain.verify(trust, server.target, self.now);
        self.finish_step(step, vouched.map(|file| (format!("{who}trusted because of {}", file.display()), ())))
    }
}

/// The server whose certificate is being verified.
struct VerifiedServer<'t> {
    target: &'t RegistryTarget,
    address: SocketAddr,
    /// The address of the registry, if this is the server of its token endpoint.
    registry: Option<SocketAddr>,
}

impl VerifiedServer<'_> {
    /// Whether Docker does not verify the certificate: it treats 127.0.0.0/8 as insecure registries, and their token
    /// endpoints like them. The loopback interface cannot be intercepted, but a token endpoint may be elsewhere.
    fn is_insecure_for_docker(&self) -> bool {
        let is_loopback = |address: SocketAddr| matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        is_loopback(self.address) && self.registry.is_none_or(is_loopback)
    }

    /// The command that makes every program of this machine trust the server's authority.
    fn system_remedy(&self) -> String {
        cert_trust_command("os", &self.target.name)
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
