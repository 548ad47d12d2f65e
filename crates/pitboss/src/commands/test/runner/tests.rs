use super::*;

const PASSED: &str = "echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured'";

/// Folder of a workspace whose state is inside it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn environment(&self) -> Environment {
        let layout = Layout::new(self.0.path(), None, None);
        layout.create().unwrap();
        Environment::new(&layout, vec![])
    }
}

fn job(environment: &Environment, name: &str, script: &str) -> Job {
    let mut command = environment.command("sh");
    command.args(["-c", script]);
    Job { name: name.to_owned(), command }
}

/// Runs scripts in one folder, `at_once` at a time. Returns what is shown, and the results.
async fn run_scripts(at_once: usize, scripts: &[(&str, String)]) -> (String, Summary) {
    run_limited(at_once, scripts, OUTPUT_BYTES_MAX).await
}

async fn run_limited(at_once: usize, scripts: &[(&str, String)], bytes_max: u64) -> (String, Summary) {
    let folder = Folder::new();
    let environment = folder.environment();
    let jobs = scripts.iter().map(|(name, script)| job(&environment, name, script)).collect();
    let (mut shown, mut progress) = (Vec::new(), Progress::default());
    let mut runner = Runner::new(&environment, &folder.0.path().join("output"));
    runner.output_bytes_max = bytes_max;
    runner.run_side_by_side(jobs, at_once, &mut shown, &mut progress).await.unwrap();
    progress.summary.succeeded = true;
    assert_eq!(progress.running.text(), "", "all have ended");
    (String::from_utf8(shown).unwrap(), progress.summary)
}

/// A script that passes only if another script that waits for it runs at the same time.
fn meets(own: &str, other: &str) -> String {
    format!(
        "touch {own}; n=0; while [ ! -e {other} ]; do n=$((n + 1)); [ $n -lt 6000 ] || exit 1; sleep 0.01; done; {PASSED}"
    )
}

/// Waits until a file has a process id in it, and returns it.
async fn pid_in(file: &Path) -> i32 {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(pid) = text.strip_suffix('\n') {
            return pid.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_until_gone(pid: i32) {
    let gone = async {
        while runtime::os_process::ProcessId::of(pid).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the process ends");
}

#[tokio::test]
async fn two_jobs_run_at_the_same_time() {
    let scripts = [("a", meets("a", "b")), ("b", meets("b", "a"))];
    let (shown, summary) = run_scripts(2, &scripts).await;
    assert!(summary.holds(), "{shown}");
    assert!(summary.text().contains("2 tests passed"), "{}", summary.text());
}

#[tokio::test]
async fn no_more_jobs_run_than_allowed() {
    let only_one = format!("mkdir busy || exit 1; sleep 0.02; rmdir busy; {PASSED}");
    let scripts = ["a", "b", "c"].map(|name| (name, only_one.clone()));
    let (shown, summary) = run_scripts(1, &scripts).await;
    assert!(summary.holds(), "{shown}");
}

#[tokio::test]
async fn output_of_a_job_is_one_piece_and_names_it() {
    let writes = |text: &str| format!("echo {text}1; echo {text}2; echo hidden >&2; {PASSED}");
    let (shown, summary) = run_scripts(2, &[("x", writes("x")), ("y", writes("y"))]).await;
    assert!(summary.holds(), "{shown}");
    assert!(shown.contains("x1\nx2\n") && shown.contains("y1\ny2\n"), "{shown}");
    assert!(shown.contains("Ran x (") && !shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn job_that_ends_early_fails_the_run() {
    let scripts = [("a", PASSED.to_owned()), ("bus tests/it/main.rs", "echo why >&2; exit 3".to_owned())];
    let (shown, summary) = run_scripts(2, &scripts).await;
    assert!(!summary.holds());
    assert!(shown.contains("why\n"), "{shown}");
    let text = summary.text();
    assert!(text.contains("failed program: bus tests/it/main.rs (exit code 3)"), "{text}");
}

#[tokio::test]
async fn job_without_test_result_fails_the_run() {
    let (_, summary) = run_scripts(2, &[("a", PASSED.to_owned()), ("b", "exit 0".to_owned())]).await;
    assert!(!summary.holds());
    assert!(summary.text().contains(&format!("failed program: b ({NO_RESULT})")), "{}", summary.text());

    let folder = Folder::new();
    let environment = folder.environment();
    let mut progress = Progress::default();
    let runner = Runner::new(&environment, folder.0.path());
    runner.run_alone(job(&environment, "c", "exit 0"), &mut progress).await.unwrap();
    assert!(progress.summary.text().contains(NO_RESULT), "{}", progress.summary.text());
}

#[tokio::test]
async fn job_that_writes_too_much_is_killed() {
    let endless = "echo first; while :; do echo line; done".to_owned();
    let (shown, summary) = run_limited(1, &[("a", endless), ("b", PASSED.to_owned())], 1 << 20).await;
    let text = summary.text();
    assert!(text.contains("failed program: a (killed, because it wrote more than 1 MiB)"), "{text}");
    assert!(text.contains("1 tests passed"), "the next job runs: {text}");
    assert!(shown.contains("line\nline\n") && !shown.contains("first"), "only its end: {}", shown.len());
}

/// As when a test run is interrupted, or takes too long.
#[tokio::test]
async fn interrupted_jobs_end_with_their_processes() {
    let folder = Folder::new();
    let environment = folder.environment();
    let waits = "echo waiting; sleep 1000 & echo $! > child; wait";
    let jobs = vec![job(&environment, "a", PASSED), job(&environment, "b", waits)];
    let (mut shown, mut progress) = (Vec::new(), Progress::default());
    let runner = Runner::new(&environment, &folder.0.path().join("output"));
    let file = folder.0.path().join("child");
    let child = tokio::select! {
        _ = runner.run_side_by_side(jobs, 1, &mut shown, &mut progress) => panic!("job b ended"),
        child = pid_in(&file) => child,
    };
    wait_until_gone(child).await;
    let text = progress.running.text();
    assert!(text.contains("not ended: b (") && text.contains("| waiting"), "{text}");
    assert!(!text.contains("not ended: a"), "{text}");
    assert!(progress.summary.text().contains("1 tests passed"), "the results so far");
    let records = std::fs::read_dir(Layout::new(folder.0.path(), None, None).run()).unwrap();
    assert_eq!(records.count(), 0, "the record of an ended group is deleted");
}

#[tokio::test]
async fn what_an_ended_job_started_ends_too() {
    let folder = Folder::new();
    let environment = folder.environment();
    // It ends only after its group was recorded.
    let recorded = "while [ -z \"$(ls .pitboss/run)\" ]; do sleep 0.01; done";
    let leaves = format!("sleep 1000 > /dev/null 2>&1 & echo $! > child; {recorded}; {PASSED}");
    let mut progress = Progress::default();
    let runner = Runner::new(&environment, folder.0.path());
    runner.run_alone(job(&environment, "a", &leaves), &mut progress).await.unwrap();
    wait_until_gone(pid_in(&folder.0.path().join("child")).await).await;
}
