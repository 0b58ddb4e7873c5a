//! The distributed adapter of Shiftwork, `JOBS_PROVIDER=redis`.
