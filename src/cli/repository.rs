//! Implements `portcullis repository`: lists the repositories, and removes one with its contents.
//!
//! Invariant: while a server runs, the server does the removal, because the locks between a removal and a push are in
//! its memory. A removal needs a confirmation: the name typed again, or `--yes`.

use std::{
    io::{self, BufRead, IsTerminal as _, Write},
    path::PathBuf,
};

use super::{CommandError, data_dir::DataAccess, load_config::load};
use crate::{
    access::{Admin, LocalOperator},
    app,
    clock::Clock,
    config::Flags,
    oci::{PageRequest, RepositoryName},
    registry::{Error, Registry, Repository, RepositoryStats},
    storage,
};

/// List repositories, and remove one with everything in it
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// List the repositories, one name a line
    #[command(visible_alias = "ls")]
    List(DataArgs),
    /// Remove a repository with its tags, manifests, layers and uploads, beside a running server or without one
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct DataArgs {
    /// The folder of the registry's data [default: from the configuration, else ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
struct RemoveArgs {
    /// The repository's name, as in image names, without host and tag
    name: RepositoryName,
    #[command(flatten)]
    data: DataArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: Args, config: Option<PathBuf>, clock: &Clock) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| CommandError::new(error, None))?;
    match args.command {
        Command::List(data) => runtime.block_on(list(&LocalRegistry::new(config, data, clock)?)),
        Command::Remove(RemoveArgs { name, data, yes }) => {
            let keeper = LocalRegistry::new(config, data, clock)?;
            let repository = keeper.open(name);
            let contents = runtime.block_on(repository.stats()).map_err(|error| command_error(&error))?;
            if !yes {
                confirm(repository.name(), &contents, &mut Terminal::from_stdio())?;
            }
            let removed = remove(&keeper, &repository, &runtime)?;
            check_written(writeln!(io::stdout(), "{}: removed {removed}", repository.name()))?;
            check_written(writeln!(io::stderr(), "{SPACE_NOTICE}"))
        }
    }
}

const SPACE_NOTICE: &str = "Blobs that no other repository has are garbage now: `portcullis gc` frees their space after registry.gc.grace and \
                     registry.gc.trash, and the server does so by itself.";

/// The registry in a data folder, opened with the rights of the local operator: an account that can write to the data
/// folder is its administrator, whatever the access rules allow to users.
struct LocalRegistry {
    storage: storage::StoreConfig,
    registry: Registry,
    operator: LocalOperator,
}

impl LocalRegistry {
    fn new(config: Option<PathBuf>, DataArgs { data }: DataArgs, clock: &Clock) -> Result<Self, CommandError> {
        let config = load(&Flags { config, data, ..Flags::default() })?.config;
        let store = app::existing_store(&config.storage, clock)?;
        let registry = Registry::new(store, config.registry, clock.clone());
        Ok(Self { storage: config.storage, registry, operator: LocalOperator::assume() })
    }

    fn open(&self, name: RepositoryName) -> Repository<Admin> {
        self.registry.open(&self.operator.authorize(name))
    }
}

async fn list(keeper: &LocalRegistry) -> Result<(), CommandError> {
    let names = keeper
        .registry
        .catalog(&keeper.operator.catalog(), &PageRequest::default())
        .await
        .map_err(|error| command_error(&error))?;
    let mut out = io::stdout().lock();
    names.entries.iter().try_for_each(|name| check_written(writeln!(out, "{name}")))
}

/// Removes the repository in the running server, or in this process if there is no server.
fn remove(
    keeper: &LocalRegistry,
    repository: &Repository<Admin>,
    runtime: &tokio::runtime::Runtime,
) -> Result<RepositoryStats, CommandError> {
    match DataAccess::wait(&keeper.storage)? {
        DataAccess::Locked(lock) => {
            let removed = runtime.block_on(repository.delete()).map_err(|error| command_error(&error))?;
            app::release_store(lock);
            Ok(removed)
        }
        DataAccess::Server(server) => Ok(server.remove_repository(repository.name())?),
    }
}

/// The terminal for the confirmation, or a test's replacement for it.
struct Terminal<'a> {
    interactive: bool,
    input: Box<dyn BufRead + 'a>,
    output: Box<dyn Write + 'a>,
}

impl Terminal<'_> {
    fn from_stdio() -> Self {
        let input = Box::new(io::BufReader::new(io::stdin()));
        Self { interactive: io::stdin().is_terminal(), input, output: Box::new(io::stderr()) }
    }
}

fn confirm(name: &RepositoryName, contents: &RepositoryStats, terminal: &mut Terminal<'_>) -> Result<(), CommandError> {
    if !terminal.interactive {
        let hint = "add --yes to remove the repository with everything in it";
        return Err(CommandError::new("there is no terminal to ask on", Some(hint)));
    }
    let question = format!("{name} holds {contents}. This cannot be undone.\nType its name to remove it: ");
    check_written(terminal.output.write_all(question.as_bytes()).and_then(|()| terminal.output.flush()))?;
    let mut answer = String::new();
    let read = io::Read::take(&mut terminal.input, RepositoryName::MAX_LEN as u64 + 2).read_line(&mut answer);
    read.map_err(|error| CommandError::new(format!("the answer cannot be read: {error}"), None))?;
    if answer.trim() == name.as_str() {
        Ok(())
    } else {
        Err(CommandError::new("the name does not match; nothing was removed", None))
    }
}

fn command_error(error: &Error) -> CommandError {
    let hint = matches!(error, Error::NameUnknown(_)).then_some("see `portcullis repository list`");
    CommandError::new(error, hint)
}

fn check_written(written: io::Result<()>) -> Result<(), CommandError> {
    written.map_err(|error| CommandError::new(format!("cannot write: {error}"), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirm_with_answer(is_there: bool, answer: &str) -> (String, String) {
        let mut printed = Vec::new();
        let name = "team/app".parse().unwrap();
        let contents = RepositoryStats { tags: 1, manifests: 2, layers: 3, uploads: 0 };
        let mut terminal =
            Terminal { interactive: is_there, input: Box::new(answer.as_bytes()), output: Box::new(&mut printed) };
        let outcome =
            confirm(&name, &contents, &mut terminal).map_or_else(|failure| failure.to_string(), |()| String::new());
        drop(terminal);
        (outcome, String::from_utf8(printed).unwrap())
    }

    #[test]
    fn only_the_name_itself_is_a_yes() {
        let (outcome, printed) = confirm_with_answer(true, "team/app\n");
        assert_eq!(outcome, "");
        assert!(printed.contains("team/app holds 1 tag, 2 manifests, 3 layers."), "{printed}");
        for answer in ["y\n", "yes\n", "\n", "", "team\n", "team/app/sub\n", "TEAM/APP\n", "team/app team/app\n"] {
            assert!(confirm_with_answer(true, answer).0.contains("nothing was removed"), "{answer:?}");
        }
    }

    #[test]
    fn without_a_terminal_there_is_no_question_and_no_removal() {
        let (outcome, printed) = confirm_with_answer(false, "team/app\n");
        assert!(outcome.contains("--yes"), "{outcome}");
        assert_eq!(printed, "");
    }
}
