//! How agents reach the API: transport, informers, workqueue, expectations, election, recorder.
