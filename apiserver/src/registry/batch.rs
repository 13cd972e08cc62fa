//! Jobs and cron jobs.

use super::check::{self, Errors};
use super::columns::{containers, selector};
use super::declared::{Declared, PLAIN, STATUS};
use super::fields::{at, child, flag, list, number, text};
use super::strategy::{Cells, Column, SelectableField};
use super::table::{AGE, NAME, age, column, human_duration, name, since, wide};
use super::{RequestContext, pods};
use crate::FieldError;
use jiff::Timestamp;
use serde_json::{Value, json};

const CONTAINERS: Column = wide("Containers", "string", "The names of the template's containers.");
const IMAGES: Column = wide("Images", "string", "The images of the template's containers.");
const SELECTOR: Column = wide("Selector", "string", "The labels of the pods it owns.");

/// `jobs.batch`.
pub const JOBS: Declared = Declared {
    columns: &[
        NAME,
        column("Status", "string", "How far it has come."),
        column("Completions", "string", "Pods that succeeded, of those wanted."),
        column("Duration", "string", "How long it ran, or has been running."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: job_cells,
    check: |errors, job| job_spec(errors, &job["spec"], "spec", true),
    check_update: job_update,
    fixed: &[
        "spec.selector",
        "spec.completionMode",
        "spec.backoffLimitPerIndex",
        "spec.managedBy",
    ],
    generation: true,
    subresources: STATUS,
    fields: &[SelectableField::of("status.successful", "0")],
    prepare: own_pods,
    orphans: true,
    ..PLAIN
};

/// `cronjobs.batch`.
pub const CRON_JOBS: Declared = Declared {
    columns: &[
        NAME,
        column("Schedule", "string", "When it runs, in cron's five fields."),
        column("Timezone", "string", "Where that is said."),
        column("Suspend", "boolean", "Whether it runs at all."),
        column("Active", "integer", "Jobs that are running."),
        column("Last Schedule", "string", "Time since it ran last."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: cron_cells,
    check: cron_job,
    generation: true,
    subresources: STATUS,
    ..PLAIN
};

/// The name of a cron job leaves room for what its jobs' names add.
const CRON_NAME_MAX: usize = 52;

/// Pods of an indexed job that may run at a time; upstream's bound.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;

fn job_cells(job: &Value, now: Timestamp) -> Cells {
    let condition = |kind: &str| {
        let conditions = list(job, "status.conditions").iter();
        conditions
            .filter(|c| text(c, "status") == "True")
            .any(|c| text(c, "type") == kind)
    };
    let state = ["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"];
    let state = state.into_iter().find(|kind| condition(kind)).unwrap_or("Running");
    let state = if at(job, "metadata.deletionTimestamp").is_some() {
        "Terminating"
    } else {
        state
    };
    let done = number(job, "status.succeeded");
    let completions = match at(job, "spec.completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(job, "spec.parallelism") {
            parallelism if parallelism > 1 => format!("{done}/1 of {parallelism}"),
            _ => format!("{done}/1"),
        },
    };
    let time = |path: &str| text(job, path).parse::<Timestamp>().ok();
    let duration = time("status.startTime").map_or(String::new(), |began| {
        let ended = time("status.completionTime").unwrap_or(now);
        human_duration(ended.as_second() - began.as_second())
    });
    vec![
        name(job),
        json!(state),
        json!(completions),
        json!(duration),
        age(job, now),
        json!(containers(job, "name")),
        json!(containers(job, "image")),
        json!(selector(at(job, "spec.selector"))),
    ]
}

fn cron_cells(cron: &Value, now: Timestamp) -> Cells {
    let template = json!({"spec": {"template": at(cron, "spec.jobTemplate.spec.template")}});
    let last = match at(cron, "status.lastScheduleTime") {
        Some(time) => since(time, now),
        None => json!("<none>"),
    };
    let zone = match text(cron, "spec.timeZone") {
        "" => "<none>",
        zone => zone,
    };
    vec![
        name(cron),
        json!(text(cron, "spec.schedule")),
        json!(zone),
        json!(if flag(cron, "spec.suspend") { "True" } else { "False" }),
        json!(list(cron, "status.active").len()),
        last,
        age(cron, now),
        json!(containers(&template, "name")),
        json!(containers(&template, "image")),
        json!(selector(at(cron, "spec.jobTemplate.spec.selector"))),
    ]
}

/// Pods belong to the job by its uid, unless the user selects them by hand.
fn own_pods(_context: &RequestContext, job: &mut Value) {
    if flag(job, "spec.manualSelector") {
        return;
    }
    let (uid, name) = (
        text(job, "metadata.uid").to_owned(),
        text(job, "metadata.name").to_owned(),
    );
    job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let metadata = child(&mut job["spec"]["template"], "metadata");
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    for (prefix, key, value) in [
        ("batch.kubernetes.io/", "controller-uid", &uid),
        ("", "controller-uid", &uid),
        ("batch.kubernetes.io/", "job-name", &name),
        ("", "job-name", &name),
    ] {
        labels[format!("{prefix}{key}")] = json!(value);
    }
}

fn job_spec(errors: &mut Errors, spec: &Value, path: &str, stored: bool) {
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check::at_least(errors, spec, path, field, 0);
    }
    let pod = &spec["template"]["spec"];
    let at_pod = format!("{path}.template.spec");
    pods::spec::validate(errors, pod, &at_pod);
    check::labels(
        errors,
        at(spec, "template.metadata.labels"),
        &format!("{path}.template.metadata.labels"),
    );
    let policy = text(pod, "restartPolicy");
    if !matches!(policy, "OnFailure" | "Never") {
        let supported = ["OnFailure", "Never"];
        errors.push(FieldError::not_supported(
            format!("{at_pod}.restartPolicy"),
            &json!(policy),
            &supported,
        ));
    }
    if text(spec, "completionMode") == "Indexed" {
        indexed_job(errors, spec, path);
    }
    let Some(selector) = at(spec, "selector").filter(|_| stored) else {
        return;
    };
    check::selector(errors, selector, &format!("{path}.selector"));
    let labels = at(spec, "template.metadata.labels").cloned().unwrap_or(json!({}));
    if !super::selects(selector, &labels) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(
            format!("{path}.template.metadata.labels"),
            &labels,
            detail,
        ));
    }
}

/// How many Pods with an index run at a time bounds how many gaps the list of those that are done can have.
fn indexed_job(errors: &mut Errors, spec: &Value, path: &str) {
    if at(spec, "completions").is_none() {
        let detail = "when completion mode is Indexed";
        errors.push(FieldError::required(format!("{path}.completions"), detail));
    }
    if number(spec, "parallelism") > INDEXED_PARALLELISM_MAX {
        let detail = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
        errors.push(FieldError::invalid(
            format!("{path}.parallelism"),
            &spec["parallelism"],
            &detail,
        ));
    }
}

/// The template may change only while the job is suspended and has not begun; completions only with an index, along with parallelism.
fn job_update(errors: &mut Errors, new: &Value, old: &Value) {
    let idle = flag(old, "spec.suspend") && at(old, "status.startTime").is_none();
    if !idle {
        check::unchanged(errors, new, old, "spec.template");
    }
    let elastic = text(new, "spec.completionMode") == "Indexed"
        && at(new, "spec.completions") == at(new, "spec.parallelism")
        && at(new, "spec.completions").is_some();
    if !elastic {
        check::unchanged(errors, new, old, "spec.completions");
    }
}

fn cron_job(errors: &mut Errors, cron: &Value) {
    let own = text(cron, "metadata.name");
    if own.len() > CRON_NAME_MAX {
        let detail = format!("must be no more than {CRON_NAME_MAX} characters");
        errors.push(FieldError::invalid("metadata.name", &json!(own), &detail));
    }
    let schedule = text(cron, "spec.schedule");
    if !schedule.is_empty()
        && let Some(problem) = cron_problem(schedule)
    {
        errors.push(FieldError::invalid("spec.schedule", &json!(schedule), &problem));
    }
    if let Some(zone) = at(cron, "spec.timeZone").and_then(Value::as_str)
        && (zone.is_empty() || zone.eq_ignore_ascii_case("local") || zone.contains("..") || zone.starts_with('/'))
    {
        let detail = "must name a time zone of the IANA database";
        errors.push(FieldError::invalid("spec.timeZone", &json!(zone), detail));
    }
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        check::at_least(errors, &cron["spec"], "spec", field, 0);
    }
    let spec = &cron["spec"]["jobTemplate"]["spec"];
    job_spec(errors, spec, "spec.jobTemplate.spec", false);
    if at(spec, "selector").is_some() || flag(spec, "manualSelector") {
        let field = "spec.jobTemplate.spec.manualSelector";
        errors.push(FieldError::not_supported(field, &json!(true), &["nil", "false"]));
    }
}

/// Why a schedule cannot be read. A zone has a field of its own.
fn cron_problem(schedule: &str) -> Option<String> {
    if schedule.contains("TZ") {
        return Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    api::cron::Schedule::parse(schedule).err().map(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        for good in [
            "* * * * *",
            "*/5 0-6,12 1 jan-mar MON",
            "@daily",
            "@every 5m",
            // It is a second.
            "@every 1ms",
            "0 0 * * 7",
        ] {
            assert_eq!(cron_problem(good), None, "{good}");
        }
        for bad in [
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "* * 0 * *",
            "@never",
            "@every junk",
            "@every 5",
            "*/0 * * * *",
            "TZ=UTC * * * * *",
        ] {
            assert!(cron_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn an_indexed_job_has_so_many_pods_at_a_time() {
        let problems = |mode: &str, parallelism: i64| {
            let mut errors = Errors::default();
            let spec = json!({ "completionMode": mode, "completions": 2_000_000_000, "parallelism": parallelism });
            job_spec(&mut errors, &spec, "spec", false);
            errors.iter().filter(|e| e.field == "spec.parallelism").count()
        };
        assert_eq!(problems("Indexed", 100_000), 0);
        assert_eq!(problems("Indexed", 100_001), 1);
        assert_eq!(problems("NonIndexed", 100_001), 0);
    }

    #[test]
    fn a_job_finds_its_pods_by_its_uid() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        own_pods(&RequestContext::default(), &mut job);
        assert_eq!(
            job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"],
            "u"
        );
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
        let running = job_cells(&job, Timestamp::UNIX_EPOCH);
        assert_eq!((&running[1], &running[2]), (&json!("Running"), &json!("0/1")));
    }
}
