//! Findings as a CycloneDX 1.5 document (VEX): every vulnerability that the feed names for a package of the image, and what it means
//! there. The same findings give the same bytes: it has no time and no random number.

use crate::{DebianPackage, Exposure, Finding, Listing, Looked};
use anyhow::Result;
use serde_json::{Value, json};

/// The page about a vulnerability, for people.
const TRACKER: &str = "https://security-tracker.debian.org/tracker/";

/// The document as pretty JSON with a newline at the end.
pub fn write_vex(listing: &Listing, release: &str, looked: &Looked) -> Result<Vec<u8>> {
    let packages: Vec<&DebianPackage> = listing.debian.iter().collect();
    let components: Vec<Value> = packages
        .iter()
        .map(|package| {
            json!({"type": "library", "bom-ref": package.purl, "name": package.name, "version": package.version, "purl": package.purl})
        })
        .collect();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "cargo-xtask-sbom"}]},
            "component": {"type": "operating-system", "bom-ref": "image", "name": listing.name},
            "properties": [{"name": "debian:release", "value": release}],
        },
        "components": components,
        "vulnerabilities": looked.findings.iter().map(|finding| vulnerability(finding, &packages)).collect::<Vec<_>>(),
    });
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn vulnerability(finding: &Finding, packages: &[&DebianPackage]) -> Value {
    let Finding { id, source, version, urgency, fixed, no_update, .. } = finding;
    let (state, status) = match finding.exposure {
        Exposure::Affected => ("exploitable", "affected"),
        Exposure::Undetermined => ("in_triage", "unknown"),
        Exposure::Fixed => ("resolved", "unaffected"),
        Exposure::NotAffected => ("not_affected", "unaffected"),
    };
    let mut detail = format!("source package {source} {version}, urgency {urgency}");
    for (word, text) in [("fixed in", fixed), ("no update by Debian:", no_update)] {
        detail.extend(text.iter().map(|text| format!(", {word} {text}")));
    }
    let mut analysis = json!({"state": state, "detail": detail});
    if finding.is_fixable() {
        analysis["response"] = json!(["update"]);
    }
    let affects: Vec<Value> = finding
        .packages
        .iter()
        .filter_map(|at| packages.get(*at))
        .map(|package| json!({"ref": package.purl, "versions": [{"version": package.version, "status": status}]}))
        .collect();
    let mut value = json!({
        "bom-ref": format!("{id}/{source}@{version}"), "id": id, "source": {"name": "Debian", "url": format!("{TRACKER}{id}")},
        "analysis": analysis, "affects": affects,
    });
    if !finding.description.is_empty() {
        value["description"] = json!(finding.description);
    }
    value
}
