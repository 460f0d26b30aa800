(* What a check found, statement by statement. *)

type t = {
  mutable accepted : string list;  (* all lists: the last first *)
  mutable refused : string list;
  mutable unchecked : string list;
  mutable opened : string list;  (* claims that the certificate itself does not call PROVED *)
  mutable trusted : string list;
  mutable claims : int;
  mutable unreadable : string option;
}

let make () =
  {
    accepted = [];
    refused = [];
    unchecked = [];
    opened = [];
    trusted = [ "that the graph is the model's program, and the regions are its layers" ];
    claims = 0;
    unreadable = None;
  }

let trust outcome what = if not (List.mem what outcome.trusted) then outcome.trusted <- what :: outcome.trusted

(* 0: all holds and every claim is PROVED; 1: something does not hold; 2: unreadable; 3: something unchecked or open.
   Where nothing was accepted but the digests, which come first, nothing is stated: that is 3, too. *)
let exit_code outcome =
  if outcome.unreadable <> None then 2
  else if outcome.refused <> [] then 1
  else if outcome.unchecked <> [] || outcome.opened <> [] || List.length outcome.accepted < 2 then 3
  else 0

let text outcome =
  match outcome.unreadable with
  | Some reason -> Printf.sprintf "unreadable: %s\n" (Text.plain reason)
  | None ->
      let named =
        [ ("holds", outcome.accepted); ("REFUSED", outcome.refused); ("UNCHECKED", outcome.unchecked);
          ("open", outcome.opened) ]
      in
      let line name what = Printf.sprintf "%-9s %s\n" name (Text.plain what) in
      let lines (name, found) = List.rev_map (line name) found in
      let claims =
        if outcome.claims > 0 then Printf.sprintf "and its claims (%d) are PROVED" outcome.claims
        else "and nothing is claimed"
      in
      let last =
        match exit_code outcome with
        | 0 -> "ACCEPTED: every statement holds, " ^ claims
        | 1 -> "REFUSED"
        | _ -> "not ACCEPTED as a whole"
      in
      let count (name, found) = Printf.sprintf "%d %s" (List.length found) (String.lowercase_ascii name) in
      String.concat ""
        (List.concat_map lines (named @ [ ("on trust", outcome.trusted) ])
        @ [ Printf.sprintf "%s (%s)\n" last (String.concat ", " (List.map count named)) ])
