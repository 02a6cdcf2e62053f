//! `stagedoor get`: one request with our own client, its body to stdout or a file.
//!
//! Follows no redirects and repeats nothing. Invariant: exit code 0 means that the response came whole, and was written
//! whole unless whoever read our stdout had enough.

mod frames;
mod upload;

use std::io::{self, IsTerminal as _};
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use stagedoor::Fields;
use stagedoor::client::{
    self, ClientStream, Error, Event, RequestOptions, RequestParts, StreamError, WireObserver,
};
use stagedoor_protocol::{ErrorCode, ResponseHead};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::GetArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Written};
use crate::reach::{self, Url};
use crate::say::say;
use frames::FrameLog;
use upload::Upload;

/// How long the session may take to say good-bye.
const PARTING: Duration = Duration::from_secs(1);

/// Fetches once.
///
/// # Errors
/// What was wrong with the arguments, the way to the server, the response, or the place it should go to.
pub(crate) fn run(args: &GetArgs) -> Result<(), Failure> {
    let url = Url::parse(&args.url, args.h2c)?;
    let fields = reach::fields(&args.fields)?;
    let upload = args.data.as_deref().map(Upload::open).transpose()?;
    actix_rt::System::new().block_on(async {
        // Taken before anything is made that would have to be removed.
        let interrupted = interruption()?;
        tokio::select! {
            result = get(&url, fields, upload, args) => result,
            name = interrupted => Err(Failure::new(Exit::Interrupted, format!("stopped by {name}"))),
        }
    })
}

/// Ends with the name of the signal that asks to stop.
fn interruption() -> Result<impl Future<Output = &'static str>, Failure> {
    let take =
        |kind| signal(kind).map_err(|error| Failure::new(Exit::Bug, format!("cannot take signals: {error}")));
    let (mut int, mut term) = (take(SignalKind::interrupt())?, take(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = int.recv() => "INT",
            _ = term.recv() => "TERM",
        }
    })
}

async fn get(url: &Url, fields: Fields, upload: Option<Upload>, args: &GetArgs) -> Result<(), Failure> {
    let mut output = Output::open(args.output.as_deref())?;
    let mut options = url.options();
    if args.verbose {
        options.wire = Some(Rc::new(FrameLog::new()) as Rc<dyn WireObserver>);
    }
    let session = client::connect(&url.origin, options)
        .map_err(|error| Failure::new(Exit::Input, error.to_string()))?;
    session.ready().await.map_err(|end| url.lost(&end))?;
    if args.verbose {
        tell_connection(&session);
    }

    let method = if upload.is_some() { "POST" } else { "GET" };
    let mut parts = RequestParts::new(method, &url.path);
    parts.fields = fields;
    let (body, unreadable) = upload.map(Upload::into_body).unzip();
    let options = RequestOptions { body, ..RequestOptions::default() };
    let failed = |error: Error| match (&error, unreadable.as_ref().and_then(upload::Unreadable::told)) {
        (Error::Stream(StreamError::BodyFailed), Some(words)) => Failure::new(Exit::Input, words),
        _ => url.failed(&error),
    };
    let mut stream = session.request(parts, options).map_err(|error| failed(error.into()))?;
    let head = head(&mut stream).await.map_err(|error| failed(error.into()))?;

    let length = head.fields.get_str("content-length").and_then(|length| length.parse().ok());
    let bar = progress(length, &output, args.verbose);
    let mut received: u64 = 0;
    while let Some(chunk) = stream.chunk().await {
        let chunk = chunk.map_err(|error| {
            bar.abandon();
            cut_short(&failed(error.into()), received, length, &output)
        })?;
        received += chunk.len() as u64;
        bar.inc(chunk.len() as u64);
        if let Written::NobodyReads = output.write(chunk).await? {
            return Ok(());
        }
    }
    bar.finish();
    output.finish().await?;
    drop(stream);
    // A peer that does not answer is no reason to wait.
    let _ = tokio::time::timeout(PARTING, session.close()).await;
    verdict(&head, args.fail)
}

/// The final head; informational ones are seen with -v alone.
async fn head(stream: &mut ClientStream) -> Result<ResponseHead, StreamError> {
    loop {
        match stream.next_event().await {
            Some(Event::Response(head)) => return Ok(head),
            Some(Event::Closed(end)) => {
                return Err(end.err().unwrap_or(StreamError::Reset(ErrorCode::NO_ERROR)));
            }
            Some(_) => {}
            None => return Err(StreamError::Reset(ErrorCode::NO_ERROR)),
        }
    }
}

/// What is left of a response that ended early, in words.
fn cut_short(failure: &Failure, received: u64, length: Option<u64>, output: &Output) -> Failure {
    let of = length.map(|length| format!(" of {length}")).unwrap_or_default();
    let words = format!("the response is not whole, {received}{of} octets came: {}", failure.message());
    let failure = Failure::new(failure.exit, words);
    match output.abandoned() {
        Some(words) => failure.with_way_out(words),
        None => failure,
    }
}

fn verdict(head: &ResponseHead, fail: bool) -> Result<(), Failure> {
    if fail && head.status >= 400 {
        return Err(Failure::new(Exit::Input, format!("the server answered {}", head.status)));
    }
    Ok(())
}

fn tell_connection(session: &client::ClientSession) {
    let Some(handle) = session.handle() else { return };
    let info = handle.info();
    let peer = info.peer.map(|peer| format!(" at {peer}")).unwrap_or_default();
    say(format_args!("* {}{peer}, {}", session.target().origin(), info.protocol));
}

/// A bar on stderr where that is a terminal and the body does not go to it too; frames and a bar do not mix.
fn progress(length: Option<u64>, output: &Output, verbose: bool) -> ProgressBar {
    if verbose || output.is_terminal() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => {
            (ProgressBar::new(length), "{bytes:>11} of {total_bytes} [{bar:30}] {bytes_per_sec}, {eta} left")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    // The template is a constant; a broken one would only look plain.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar
}
