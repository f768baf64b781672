//! Implements `portcullis repository`: lists the repositories, and removes one with its contents.
//!
//! Invariant: while a server runs, the server does the removal, because the locks between a removal and a push are in
//! its memory. A removal needs a confirmation: the name typed again, or `--yes`.

use std::{
    io::{self, BufRead, IsTerminal as _, Write},
    path::PathBuf,
};

use super::{Failure, folder::Folder, load};
use crate::{
    access::{Admin, LocalOperator},
    app,
    config::Flags,
    oci::{Page, RepositoryName},
    registry::{Contents, Error, Registry, Repository},
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

pub(super) fn run(args: Args, config: Option<PathBuf>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(error, None))?;
    match args.command {
        Command::List(data) => runtime.block_on(list(&Keeper::of(config, data)?)),
        Command::Remove(RemoveArgs { name, data, yes }) => {
            let keeper = Keeper::of(config, data)?;
            let repository = keeper.open(name);
            let contents = runtime.block_on(repository.contents()).map_err(|error| fail(&error))?;
            if !yes {
                confirm(repository.name(), &contents, &mut Terminal::here())?;
            }
            let removed = runtime.block_on(remove(&keeper, &repository))?;
            told(writeln!(io::stdout(), "{}: removed {removed}", repository.name()))?;
            told(writeln!(io::stderr(), "{SPACE}"))
        }
    }
}

const SPACE: &str = "Blobs that no other repository has are garbage now: `portcullis gc` frees their space after registry.gc.grace and \
                     registry.gc.trash, and the server does so by itself.";

/// The registry in a data folder, opened with the rights of the local operator: an account that can write to the data
/// folder is its administrator, whatever the access rules allow to users.
struct Keeper {
    storage: storage::Config,
    registry: Registry,
    operator: LocalOperator,
}

impl Keeper {
    fn of(config: Option<PathBuf>, DataArgs { data }: DataArgs) -> Result<Self, Failure> {
        let config = load(&Flags { config, data, ..Flags::default() })?.config;
        let registry = Registry::new(app::existing_store(&config.storage)?, config.registry);
        Ok(Self { storage: config.storage, registry, operator: LocalOperator::assume() })
    }

    fn open(&self, name: RepositoryName) -> Repository<Admin> {
        self.registry.open(&self.operator.authorize(name))
    }
}

async fn list(keeper: &Keeper) -> Result<(), Failure> {
    let names =
        keeper.registry.catalog(&keeper.operator.catalog(), &Page::default()).await.map_err(|error| fail(&error))?;
    let mut out = io::stdout().lock();
    names.entries.iter().try_for_each(|name| told(writeln!(out, "{name}")))
}

/// Removes the repository in the running server, or in this process if there is no server.
async fn remove(keeper: &Keeper, repository: &Repository<Admin>) -> Result<Contents, Failure> {
    let mut folder = Folder::new(&keeper.storage);
    if !folder.is_ours().map_err(|error| Failure::new(error, None))?
        && let Some(removed) = repository.request_deletion(|| folder.is_ours()).await.map_err(|error| fail(&error))?
    {
        return Ok(removed);
    }
    repository.delete().await.map_err(|error| fail(&error))
}

/// The terminal for the confirmation, or a test's replacement for it.
struct Terminal<'a> {
    is_there: bool,
    input: Box<dyn BufRead + 'a>,
    output: Box<dyn Write + 'a>,
}

impl Terminal<'_> {
    fn here() -> Self {
        let input = Box::new(io::BufReader::new(io::stdin()));
        Self { is_there: io::stdin().is_terminal(), input, output: Box::new(io::stderr()) }
    }
}

fn confirm(name: &RepositoryName, contents: &Contents, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    if !terminal.is_there {
        let hint = "add --yes to remove the repository with everything in it";
        return Err(Failure::new("there is no terminal to ask on", Some(hint)));
    }
    let question = format!("{name} holds {contents}. This cannot be undone.\nType its name to remove it: ");
    told(terminal.output.write_all(question.as_bytes()).and_then(|()| terminal.output.flush()))?;
    let mut answer = String::new();
    let read = io::Read::take(&mut terminal.input, RepositoryName::MAX as u64 + 2).read_line(&mut answer);
    read.map_err(|error| Failure::new(format!("the answer cannot be read: {error}"), None))?;
    if answer.trim() == name.as_str() {
        Ok(())
    } else {
        Err(Failure::new("the name does not match; nothing was removed", None))
    }
}

fn fail(error: &Error) -> Failure {
    let hint = matches!(error, Error::NameUnknown(_)).then_some("see `portcullis repository list`");
    Failure::new(error, hint)
}

fn told(written: io::Result<()>) -> Result<(), Failure> {
    written.map_err(|error| Failure::new(format!("cannot write: {error}"), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(is_there: bool, answer: &str) -> (String, String) {
        let mut said = Vec::new();
        let name = "team/app".parse().unwrap();
        let contents = Contents { tags: 1, manifests: 2, layers: 3, uploads: 0 };
        let mut terminal = Terminal { is_there, input: Box::new(answer.as_bytes()), output: Box::new(&mut said) };
        let outcome =
            confirm(&name, &contents, &mut terminal).map_or_else(|failure| failure.to_string(), |()| String::new());
        drop(terminal);
        (outcome, String::from_utf8(said).unwrap())
    }

    #[test]
    fn only_the_name_itself_is_a_yes() {
        let (outcome, said) = answering(true, "team/app\n");
        assert_eq!(outcome, "");
        assert!(said.contains("team/app holds 1 tag, 2 manifests, 3 layers."), "{said}");
        for answer in ["y\n", "yes\n", "\n", "", "team\n", "team/app/sub\n", "TEAM/APP\n", "team/app team/app\n"] {
            assert!(answering(true, answer).0.contains("nothing was removed"), "{answer:?}");
        }
    }

    #[test]
    fn without_a_terminal_there_is_no_question_and_no_removal() {
        let (outcome, said) = answering(false, "team/app\n");
        assert!(outcome.contains("--yes"), "{outcome}");
        assert_eq!(said, "");
    }
}
