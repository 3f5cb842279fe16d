//! One offline HTML page that shows every attention head of a recording.
