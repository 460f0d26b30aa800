(* The steps of a region, in the types of the verified checker. What they demand of numbers it decides; here it is seen
   to that each is of its rule and rests on what was reached before, and named where a step is of a form not known. *)

open Refusal

type t = {
  context : Translation.t;
  rows : bool;  (* from l2 to linf *)
  trust : string -> unit;
  l2 : (string, unit) Hashtbl.t;  (* values that were reached in l2 *)
  linf : (string, unit) Hashtbl.t;  (* and entry by entry *)
}

let start context value ~rows ~trust =
  let l2 = Hashtbl.create 16 in
  Hashtbl.add l2 value ();
  { context; rows; trust; l2; linf = Hashtbl.create 16 }

let rules =
  [ ("affine", true); ("cpl", true); ("pointwise", false); ("named", false); ("sum", false); ("joint", false);
    ("rows", true) ]

let reached t value = (t.rows && Hashtbl.mem t.linf value) || Hashtbl.mem t.l2 value

let known t value =
  if not (Hashtbl.mem t.l2 value) then
    disproved "a step reads %s, of which no l2 bound was derived" (Text.repr value)

(* That a norm is one of the node's own map. *)
let rests_on t (norm : Norms.statement) value ~rows =
  if Norms.last norm.maps <> value || (norm.rule = "rows") <> rows then
    disproved "the step to %s rests on the norm of another map" (Text.repr value);
  known t (List.hd (Translation.node t.context.graph (List.hd norm.maps)).reads)

let steepest t (map : Maps.map) where =
  match map.kind with
  | Pointwise (name, low, high) -> (
      match Translation.activation name low high with
      | None -> unchecked "the slopes of %s (%s)" name where
      | Some (_, slopes) -> (
          if not (Translation.room name low high) then
            disproved "%s: the slopes of %s are not within those stated" where name;
          match slopes with Proved -> () | Believed what -> t.trust what))
  | _ -> disproved "%s: the rule pointwise is none of a map of kind %s" where (Maps.kind_name map)

let most_scalars = 8

type branch = {
  seen : Graph.node list;  (* what is no scalar, the last first: pointwise, ..., the outer map *)
  scalars : Graph.node list;
  stages : int list;  (* factors and copies of all entries after each of those seen, and before the first *)
  ends : string;
}

let is_scalar where (map : Maps.map) =
  match map.kind with Diagonal factor -> Reading.product (Maps.array_shape factor where) = 1 | _ -> false

let is_copy (map : Maps.map) = map.kind = Maps.Rearrange None && map.inputs = [ map.output ]

(* From the end of a branch back to the map of its norm. *)
let walk t (norm : Norms.statement) name where =
  let graph = t.context.graph in
  let rec back b =
    match Graph.find graph b.ends with
    | Some ({ reads = [ read ]; _ } as node) when not (List.mem b.ends norm.maps) ->
        let count = match b.stages with n :: rest -> (n + 1) :: rest | [] -> [ 1 ] in
        let look () =
          Arrays.look_up t.context.arrays (Reading.product node.map.output) 1 where;
          ignore (Translation.linear t.context node where)
        in
        if is_scalar where node.map then
          let pointwise = List.exists (fun (n : Graph.node) -> Maps.kind_name n.map = "pointwise") b.seen in
          if pointwise || List.length b.scalars = most_scalars then b
          else begin
            look ();
            back { b with scalars = node :: b.scalars; stages = count; ends = read }
          end
        else if is_copy node.map then begin
          look ();
          back { b with stages = count; ends = read }
        end
        else back { b with seen = node :: b.seen; stages = 0 :: b.stages; ends = read }
    | _ -> b
  in
  back { seen = []; scalars = []; stages = [ 0 ]; ends = name }

(* Asks whether two maps are adjoint to each other, if their kinds and shapes let them be. *)
let ask_adjoint t (outer : Graph.node) (inner : Graph.node) where =
  let kind (node : Graph.node) = Maps.kind_name (fst (Norms.unwrapped node.map)) in
  let linear node = Translation.linear t.context node where in
  if outer.map.inputs <> [ inner.map.output ] || [ outer.map.output ] <> inner.map.inputs
     || kind outer <> kind inner || not (List.mem (kind inner) [ "dense"; "convolution" ])
  then disproved "%s: its two linear maps are not seen to be adjoint to each other" where;
  let index (node : Graph.node) = Translation.index t.context.graph node.value in
  let pair = (index outer, index inner) in
  if not (Hashtbl.mem t.context.pairs pair) then begin
    let rows, columns = Verified.shape (linear inner) in
    ignore (linear outer);
    Arrays.look_up t.context.arrays ~times:2 rows columns where;
    Hashtbl.add t.context.pairs pair ()
  end

(* That a value is x + c A^T sigma(A x + b) with the A of a norm. *)
let block t (node : Graph.node) (norm : Norms.statement) where =
  (match (node.map.kind, node.reads) with
  | Sum _, [ _; _ ] when norm.rule <> "rows" -> ()
  | _ -> disproved "%s: cpl is of a sum of two values" where);
  let signs = match node.map.kind with Sum signs -> signs | _ -> [] in
  let inner = Translation.node t.context.graph (List.hd norm.maps) in
  let try_one skip branch =
    List.nth signs skip = 1
    &&
    let found = walk t norm (List.nth node.reads branch) where in
    let kinds = List.map (fun (n : Graph.node) -> Maps.kind_name n.map) found.seen in
    found.ends = Norms.last norm.maps
    && inner.reads = [ List.nth node.reads skip ]
    &&
    match (kinds, found.seen) with
    | [ "pointwise"; "pad"; _ ], _ -> unchecked "a padding before the adjoint (%s)" where
    | [ "pointwise"; _ ], [ sigma; outer ] ->
        ask_adjoint t outer inner where;
        steepest t sigma.map where;
        known t (List.nth node.reads skip);
        if List.hd found.stages > 0 || List.exists (fun n -> n > most_scalars) found.stages then
          unchecked "copies of all entries in a block (%s)" where;
        true
    | _ -> false
  in
  if not (try_one 0 1 || try_one 1 0) then
    disproved "%s: no block x + c A^T sigma(A x + b) with the A of its norm ends there" where

(* The rule of a step in l2. *)
let l2_rule t rule (node : Graph.node) (norm : Translation.stated option) where =
  match (rule, norm) with
  | "affine", Some { statement; index } ->
      rests_on t statement node.value ~rows:false;
      Verified.ByNorm index
  | "cpl", Some { statement; index } ->
      block t node statement where;
      Verified.ByBlock index
  | _ -> (
      List.iter (known t) node.reads;
      match (rule, node.map.kind) with
      | "pointwise", _ -> steepest t node.map where; Verified.ByPointwise
      | "sum", Sum _ -> Verified.BySum
      | "joint", (Concatenation | Extremum) | "named", Named -> unchecked "the rule %s (%s)" rule where
      | ("sum" | "joint" | "named"), _ ->
          disproved "%s: the rule %s is none of a map of kind %s" where rule (Maps.kind_name node.map)
      | _ -> unchecked "%s (%s)" rule where)

(* One step; [Refused], [Disproved], [Unchecked] where it may not be taken. *)
let take t step =
  let rule = Reading.text (Reading.get step "rule") "a step's rule" in
  match List.assoc_opt rule rules with
  | None -> unchecked "the rule %s of a step" (Text.prefix 40 rule)
  | Some by_norm ->
      let get = Reading.fields step "a step" ([ "value"; "rule"; "upper" ] @ if by_norm then [ "norm" ] else []) in
      let value = Reading.text (get "value") "a step's value" in
      let where = Printf.sprintf "the step to %s" (Text.repr value) in
      let node =
        match Graph.find t.context.graph value with
        | Some node when not (Hashtbl.mem t.l2 value || Hashtbl.mem t.linf value) -> node
        | _ -> refused "%s is to no value of the graph, or to one that was reached" where
      in
      let upper = Operators.to_q (Numbers.hex_number (get "upper")) in
      let norm = if by_norm then Some (Translation.norm t.context (Reading.text (get "norm") where)) else None in
      let entrywise = List.for_all (Hashtbl.mem t.linf) node.reads in
      let rule_of, found =
        match (rule, norm) with
        | "rows", Some { statement; index } when t.rows ->
            rests_on t statement value ~rows:true;
            (Verified.ByNorm index, t.linf)
        | "affine", Some { statement; index } when statement.rule = "copies" && entrywise ->
            if statement.maps <> [ value ] then disproved "%s states less than its rule gives" where;
            (Verified.ByNorm index, t.linf)
        | "pointwise", None when entrywise ->
            steepest t node.map where;
            (Verified.ByPointwise, t.linf)
        | _ -> (l2_rule t rule node norm where, t.l2)
      in
      Hashtbl.add found value ();
      { Verified.to0 = Translation.index t.context.graph value; rule_of; upper }
