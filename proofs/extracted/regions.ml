(* What a certificate states of its regions, and its witnesses and margins: they are read; nothing is proved here. *)

open Refusal

let verdicts = [ "PROVED"; "REFUTED"; "UNDECIDED"; "UNSUPPORTED"; "CONFLICT" ]

type t = {
  where : string;
  path : string;
  norm : string;
  get : string -> Json.t;
  bound : Q.t option;  (* the claim *)
  domain : Json.t;
}

let is_digest text =
  String.length text = 64 && String.for_all (fun c -> Json.is_digit c || (c >= 'a' && c <= 'f')) text

let shown value =
  let text = match value with Json.Text text -> text | _ -> "" in
  Printf.sprintf "%s (%.9g)" text (Numbers.hex_float value)

let fields = [ "path"; "norm"; "claim"; "verdict"; "reason"; "input"; "output"; "steps"; "upper"; "rule" ]

let read seen (outcome : Outcome.t) value =
  let get = Reading.fields value "a region" fields in
  let path = Reading.text (get "path") "a path" and norm = Reading.text (get "norm") "a norm pair" in
  let where = Printf.sprintf "%s, %s" (if path = "" then "the whole" else Text.repr path) (Text.prefix 40 norm) in
  let claim = get "claim" in
  let claimed = claim <> Json.Null in
  let of_claim = if claimed then Reading.fields claim where [ "bound"; "domain" ] else fun _ -> Json.Null in
  let domain = of_claim "domain" in
  (match domain with
  | Null -> ()
  | Text text when is_digest text -> ()
  | _ -> refused "%s: a domain is null or a digest" where);
  if Hashtbl.mem seen (path, norm, domain) then refused "%s is stated twice" where;
  Hashtbl.add seen (path, norm, domain) ();
  if claimed then outcome.claims <- outcome.claims + 1;
  let bound = if claimed then Some (Numbers.decimal (Reading.text (of_claim "bound") where) where) else None in
  (match get "verdict" with
  | Null when not claimed -> ()
  | Text verdict when claimed && List.mem verdict verdicts -> ()
  | other -> refused "%s: the verdict %s does not go with its claim" where (Text.prefix 40 (Json.shown other)));
  { where; path; norm; get; bound; domain }

(* The values that a region leads from and to. *)
let ends (graph : Graph.t) region =
  match (region.get "input", region.get "output") with
  | Text start, Text stop when Hashtbl.mem graph.index start && Hashtbl.mem graph.index stop -> (start, stop)
  | start, stop ->
      let short value = Text.prefix 40 (Json.shown value) in
      refused "a region from %s to %s, of which one is no value" (short start) (short stop)

(* The input of a witness or a margin: float64, little-endian, base64. *)
let read_point value where size =
  let get = Reading.fields value where [ "shape"; "base64" ] in
  let data = Base64.field (get "base64") where in
  if Reading.product (Reading.shape (get "shape") where) <> size || String.length data <> 8 * size then
    refused "%s has another size than the value it is an input of" where;
  for i = 0 to size - 1 do
    if not (Float.is_finite (Int64.float_of_bits (String.get_int64_le data (8 * i)))) then
      refused "%s holds NaN or infinity" where
  done

(* What the witnesses say, by path and norm: they are read, not evaluated. *)
let read_witnesses (graph : Graph.t) evidence regions =
  let found = Hashtbl.create 16 and named = Hashtbl.create 64 in
  (* Of regions with the same path and norm the last one counts. *)
  List.iter (fun region -> Hashtbl.replace named (region.path, region.norm) region) regions;
  let read entry =
    let get = Reading.fields entry "a witness" [ "path"; "norm"; "x"; "y"; "ratio" ] in
    let where = Printf.sprintf "the witness on %s" (Text.prefix 200 (Json.shown (get "path"))) in
    let region =
      match (get "path", get "norm") with Text path, Text norm -> Hashtbl.find_opt named (path, norm) | _ -> None
    in
    let start =
      match Option.map (ends graph) region with
      | Some (start, _) -> start
      | None | (exception Refused _) -> refused "%s is of no region with a graph" where
    in
    let size = Reading.product (Graph.shape_of graph start) in
    read_point (get "x") where size;
    read_point (get "y") where size;
    ignore (Numbers.hex_number (get "ratio"));
    Hashtbl.add found (get "path", get "norm") (shown (get "ratio"))
  in
  if evidence <> Json.Null then begin
    let get = Reading.fields evidence "the evidence" [ "witnesses" ] ~optional:[ "factors" ] in
    Array.iter read (Reading.list (get "witnesses") "the witnesses")
  end;
  fun region -> List.rev (Hashtbl.find_all found (Json.Text region.path, Json.Text region.norm))

let read_margin (graph : Graph.t) number value =
  let get = Reading.fields value (Printf.sprintf "margin %d" number) [ "input"; "class"; "radius"; "norm" ] in
  let radius = Json.shown (get "radius") in
  let where = Printf.sprintf "input %d keeps its class within %s" number radius in
  let name = Printf.sprintf "the radius of margin %d" number in
  ignore (Numbers.decimal (Reading.text (get "radius") name) name);
  read_point (get "input") where (Reading.product graph.shape);
  where
