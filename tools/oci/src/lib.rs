//! TODO-oci
