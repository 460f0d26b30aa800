(* The maps of a graph, every shape derived. Arrays are still as the certificate has them. [Refused] where what stands
   there is no map, or does not fit the shapes that it reads. *)

open Refusal

type kind =
  | Dense of { weight : Json.t; out : int; inner : int }
  | Convolution of convolution
  | Adjoint of map  (* of a dense map or a convolution *)
  | Diagonal of Json.t
  | Separable of (int * Json.t * int * int) list * Q.t  (* axis, matrix, out, inner; the scale *)
  | Gather of (int * int * int) array  (* first (-1: zeros), step, count *)
  | Rearrange of int list option
  | Pad of (int * int) list * bool
  | Pointwise of string * Q.t * Q.t
  | Sum of int list  (* signs *)
  | Concatenation
  | Extremum
  | Named
  | Opaque

and convolution = {
  kernel : Json.t;
  sizes : int list;  (* of the kernel: out, in / groups, taps *)
  pads : (int * int) list;
  circular : bool;
  stride : int list;
  dilation : int list;
  groups : int;
}

and map = { kind : kind; inputs : int list list; output : int list; bias : Json.t }

let kind_name map =
  match map.kind with
  | Dense _ -> "dense"
  | Convolution _ -> "convolution"
  | Adjoint _ -> "adjoint"
  | Diagonal _ -> "diagonal"
  | Separable _ -> "separable"
  | Gather _ -> "gather"
  | Rearrange _ -> "rearrange"
  | Pad _ -> "pad"
  | Pointwise _ -> "pointwise"
  | Sum _ -> "sum"
  | Concatenation -> "concatenation"
  | Extremum -> "extremum"
  | Named -> "named"
  | Opaque -> "opaque"

let linear_kinds = [ "dense"; "convolution"; "adjoint"; "diagonal"; "separable"; "gather"; "rearrange"; "pad" ]
let is_linear map = List.mem (kind_name map) linear_kinds

let array_shape ?axes value where =
  let shape = Reading.shape (Reading.get value "shape") where in
  (match axes with
  | Some n when List.length shape <> n ->
      refused "%s: an array of shape %s where %d axes are expected" where (Reading.tuple shape) n
  | _ -> ());
  shape

let broadcasts shape over =
  let rec fits a b =
    match (a, b) with [], _ -> true | _, [] -> false | n :: a, m :: b -> (n = 1 || n = m) && fits a b
  in
  fits (List.rev shape) (List.rev over)

(* Sizes are native integers, so no value may be larger than they count. *)
let bounded shape where =
  if Z.gt (Reading.product_z shape) (Z.shift_left Z.one 60) || List.exists (fun n -> n >= 1 lsl 60) shape then
    refused "%s: a value of more than 2^60 entries" where;
  shape

let without key value =
  match value with
  | Json.Object pairs -> Json.Object (Array.of_list (List.filter (fun (k, _) -> k <> key) (Array.to_list pairs)))
  | other -> other

let last_of shape = List.nth shape (List.length shape - 1)
let with_last shape n = List.mapi (fun i m -> if i = List.length shape - 1 then n else m) shape

(* How many outputs an axis of n entries has. *)
let outputs where n (a, b) taps stride dilation =
  let whole = n + a + b in
  if taps - 1 > whole / dilation || whole <= dilation * (taps - 1) then
    refused "%s: the kernel does not fit the image" where;
  ((whole - (dilation * (taps - 1)) - 1) / stride) + 1

let rec map5 f a b c d e =
  match (a, b, c, d, e) with
  | a :: ar, b :: br, c :: cr, d :: dr, e :: er -> f a b c d e :: map5 f ar br cr dr er
  | _ -> []

let read_convolution fields shape where =
  let get = Reading.fields fields where [ "kind"; "kernel"; "pads"; "circular"; "stride"; "dilation"; "groups" ] in
  let axes = List.length shape - 2 in
  let sizes = array_shape ~axes:(List.length shape) (get "kernel") where in
  let pads = Reading.pads (get "pads") where axes in
  let stride = Reading.naturals ~length:axes (get "stride") where in
  let dilation = Reading.naturals ~length:axes (get "dilation") where in
  let groups = Reading.natural (get "groups") where in
  match (Reading.truth (get "circular"), shape, sizes) with
  | Some circular, batch :: channels :: image, out :: inner :: taps
    when (axes = 1 || axes = 2) && List.for_all (fun n -> n >= 1) (groups :: (stride @ dilation @ sizes)) ->
      if channels mod groups <> 0 || channels / groups <> inner || out mod groups <> 0 then
        refused "%s: the kernel does not fit %d channels in %d groups" where channels groups;
      if circular && List.exists2 (fun (a, b) n -> max a b > n) pads image then
        refused "%s: circular padding beyond the image" where;
      let made = map5 (outputs where) image pads taps stride dilation in
      (Convolution { kernel = get "kernel"; sizes; pads; circular; stride; dilation; groups }, batch :: out :: made)
  | _ -> refused "%s: no convolution of one or two image axes" where

let read_separable fields shape where =
  let get = Reading.fields fields where [ "kind"; "factors"; "scale"; "output" ] in
  let made = Array.of_list shape and seen = Array.make (List.length shape) false in
  let factor pair =
    match Reading.list ~length:2 pair where with
    | [| axis; matrix |] -> (
        match (axis, array_shape ~axes:2 matrix where) with
        | Json.Integer z, [ out; inner ]
          when Z.sign z >= 0 && Z.lt z (Z.of_int (Array.length made))
               && (not seen.(Z.to_int z))
               && made.(Z.to_int z) = inner ->
            let axis = Z.to_int z in
            seen.(axis) <- true;
            made.(axis) <- out;
            (axis, matrix, out, inner)
        | _ -> refused "%s: a factor does not fit its axis" where)
    | _ -> assert false
  in
  let factors = List.map factor (Array.to_list (Reading.list (get "factors") where)) in
  let output = Reading.shape (get "output") where and scale = Reading.ratio (get "scale") where in
  if (not (Z.equal (Reading.product_z output) (Reading.product_z (Array.to_list made)))) || Q.sign scale <= 0 then
    refused "%s: the factors make another shape than %s" where (Reading.tuple output);
  (Separable (factors, scale), output)

let read_gather fields shape where =
  let get = Reading.fields fields where [ "kind"; "runs"; "output" ] in
  let output = Reading.shape (get "output") where in
  let most = Reading.product_z shape and total = ref Z.zero in
  let run value =
    match Reading.list ~length:3 value where with
    | [| Json.Integer first; Json.Integer step; Json.Integer count |] ->
        let last = Z.add first (Z.mul step (Z.pred count)) in
        let zeros = Z.equal first Z.minus_one && Z.equal step Z.zero in
        let inside z = Z.sign z >= 0 && Z.lt z most in
        if Z.sign count < 1 || not (zeros || (inside first && inside last)) then
          refused "%s: a run beyond the value it reads" where;
        total := Z.add !total count;
        (* Of one entry the step says nothing. *)
        (first, (if Z.equal count Z.one then Z.zero else step), count)
    | _ -> refused "%s: a run is three integers" where
  in
  let runs = Array.map run (Reading.list (get "runs") where) in
  if not (Z.equal !total (Reading.product_z output)) then
    refused "%s: its runs make %s entries, not %s" where (Z.to_string !total) (Z.to_string (Reading.product_z output));
  (Gather (Array.map (fun (a, b, c) -> (Z.to_int a, Z.to_int b, Z.to_int c)) runs), output)

let read_dense fields shape where =
  let weight = (Reading.fields fields where [ "kind"; "weight" ]) "weight" in
  match array_shape ~axes:2 weight where with
  | [ out; inner ] when shape <> [] && last_of shape = inner -> (Dense { weight; out; inner }, with_last shape out)
  | sizes -> refused "%s: a matrix of %d columns on a value of shape %s" where (last_of sizes) (Reading.tuple shape)

let read_rearrange fields shape where =
  let get = Reading.fields fields where [ "kind"; "axes"; "output" ] in
  let axes = match get "axes" with Json.Null -> None | value -> Some (Reading.naturals value where) in
  let all = List.mapi (fun i _ -> i) shape in
  if Option.fold axes ~none:false ~some:(fun found -> List.sort compare found <> all) then
    refused "%s: its axes are no permutation" where;
  let output = Reading.shape (get "output") where in
  if not (Z.equal (Reading.product_z output) (Reading.product_z shape)) then
    refused "%s: from %s to %s" where (Reading.tuple shape) (Reading.tuple output);
  (Rearrange axes, output)

let read_pad fields shape where =
  let get = Reading.fields fields where [ "kind"; "pads"; "circular" ] in
  let pads = Reading.pads (get "pads") where (List.length shape) in
  match Reading.truth (get "circular") with
  | Some circular when not (circular && List.exists2 (fun (a, b) n -> max a b > n) pads shape) ->
      (Pad (pads, circular), List.map2 (fun n (a, b) -> n + a + b) shape pads)
  | _ -> refused "%s: no padding, or circular beyond the value" where

let rec read_linear fields shape where =
  let is, output =
    match Reading.get fields "kind" with
    | Json.Text "dense" -> read_dense fields shape where
    | Json.Text "convolution" -> read_convolution fields shape where
    | Json.Text "adjoint" -> read_adjoint fields shape where
    | Json.Text "diagonal" ->
        let factor = (Reading.fields fields where [ "kind"; "factor" ]) "factor" in
        if not (broadcasts (array_shape factor where) shape) then
          refused "%s: factors that do not broadcast to %s" where (Reading.tuple shape);
        (Diagonal factor, shape)
    | Json.Text "separable" -> read_separable fields shape where
    | Json.Text "gather" -> read_gather fields shape where
    | Json.Text "rearrange" -> read_rearrange fields shape where
    | Json.Text "pad" -> read_pad fields shape where
    | kind -> refused "%s has the unknown kind %s" where (Text.prefix 40 (Json.shown kind))
  in
  { kind = is; inputs = [ shape ]; output = bounded output where; bias = Json.Null }

and read_adjoint fields shape where =
  let of_ = (Reading.fields fields where [ "kind"; "of" ]) "of" in
  let kind = Reading.get of_ "kind" in
  match of_ with
  | Json.Object pairs when Reading.find pairs "input" <> None && (kind = Text "dense" || kind = Text "convolution") ->
      let input = Reading.shape (Reading.get of_ "input") where in
      let inner = read_linear (without "input" of_) input where in
      if inner.output <> shape then
        refused "%s: the adjoint of a map to %s on a value of shape %s" where (Reading.tuple inner.output)
          (Reading.tuple shape);
      (Adjoint inner, input)
  | _ -> refused "%s: the adjoint is of a dense map or a convolution with an input shape" where

let same shapes = match shapes with [] -> false | first :: rest -> List.for_all (( = ) first) rest

let read_concatenation axis inputs where =
  let without shape = List.filteri (fun i _ -> i <> axis) shape in
  if (not (same (List.map without inputs))) || List.exists (fun shape -> axis >= List.length shape) inputs then
    refused "%s: what is concatenated differs off the axis" where;
  let along = List.fold_left (fun n shape -> n + List.nth shape axis) 0 inputs in
  List.mapi (fun i n -> if i = axis then along else n) (List.hd inputs)

(* A map that reads values of these shapes. *)
let read value inputs where =
  let made kind output = { kind; inputs; output = bounded output where; bias = Json.Null } in
  let fields names = Reading.fields value where ("kind" :: names) in
  match Reading.get value "kind" with
  | Json.Text kind when List.mem kind linear_kinds ->
      let shape = match inputs with [ shape ] -> shape | _ -> refused "%s: %s reads one value" where kind in
      let map = read_linear (without "bias" value) shape where and bias = Reading.get value "bias" in
      if bias <> Json.Null && not (broadcasts (array_shape bias where) map.output) then
        refused "%s: a bias that does not broadcast to %s" where (Reading.tuple map.output);
      { map with bias }
  | Json.Text "pointwise" -> (
      let get = fields [ "name"; "slopes" ] in
      let slopes = Array.map (fun e -> Reading.ratio e where) (Reading.list ~length:2 (get "slopes") where) in
      match (slopes, inputs) with
      | [| low; high |], [ shape ] when Q.leq low high ->
          made (Pointwise (Reading.text (get "name") where, low, high)) shape
      | _ -> refused "%s: a pointwise map reads one value, its slopes are in order" where)
  | Json.Text "sum" ->
      let signs = Reading.list ~length:(List.length inputs) ((fields [ "signs" ]) "signs") where in
      let sign = function Json.Integer z when Z.equal (Z.abs z) Z.one -> Z.to_int z | _ -> 0 in
      let found = Array.to_list (Array.map sign signs) in
      if List.mem 0 found || not (same inputs) then
        refused "%s: a sum has a sign 1 or -1 for each of several values of one shape" where;
      made (Sum found) (List.hd inputs)
  | Json.Text "concatenation" ->
      let axis = Reading.natural ((fields [ "axis" ]) "axis") where in
      made Concatenation (read_concatenation axis inputs where)
  | Json.Text "extremum" -> (
      match (Reading.truth ((fields [ "largest" ]) "largest"), inputs) with
      | Some _, [ a; b ] when a = b -> made Extremum a
      | _ -> refused "%s: an extremum is of two values of one shape" where)
  | Json.Text "named" ->
      let get = fields [ "name"; "square"; "output" ] in
      if List.length inputs <> 1 then refused "%s reads one value" where;
      ignore (Reading.text (get "name") where);
      ignore (Reading.ratio (get "square") where);
      made Named (Reading.shape (get "output") where)
  | Json.Text "opaque" -> made Opaque (Reading.shape ((fields [ "operation"; "reason"; "output" ]) "output") where)
  | kind -> refused "%s has the unknown kind %s" where (Text.prefix 40 (Json.shown kind))
