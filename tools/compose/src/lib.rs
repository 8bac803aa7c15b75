//! TODO-compose
