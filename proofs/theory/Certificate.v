(** Certificates and the check of their regions. Only definitions: what [check] accepts is proved in Soundness.v. *)

From Coq Require Import Arith ZArith QArith List Bool.
From Lipverify Require Import Maps.
Import ListNotations.
Open Scope nat_scope.

(** ** The graph *)

(** Functions of one number whose slopes are proved (Activations.v), and others, of which they are assumed. *)
Inductive activation :=
| Relu | Abs | Hardtanh | MaximumWithConstant | MinimumWithConstant | Hardsigmoid | Softshrink
| Sin | Cos | Atan | Asinh | Tanh | Tanhshrink | Sigmoid | Softplus | LogSigmoid
| Assumed (low high : Q).

Definition known_slopes (a : activation) : Q * Q :=
  match a with
  | Abs | Sin | Cos => (-1 # 1, 1 # 1)
  | Hardsigmoid => (0 # 1, 1 # 6)
  | Sigmoid => (0 # 1, 1 # 4)
  | Assumed low high => (low, high)
  | _ => (0 # 1, 1 # 1)
  end.

Inductive map :=
| Linear (l : linear)  (** A x + b: no bound depends on b, which is not kept *)
| Pointwise (a : activation) (low high : Q) (entries : nat)
| Sum (signs : list bool) (entries : nat)  (** true: added, false: subtracted *)
| Opaque (entries : nat).

Record node := Node { map_of : map; reads : list nat }.

(** Node k makes the value k + 1; the value 0 is the input. *)
Record graph := Graph { input : nat; nodes : list node }.

Definition made (m : map) : nat :=
  match m with Linear l => rows l | Pointwise _ _ _ n | Sum _ n | Opaque n => n end.

Definition node_at (g : graph) (v : nat) : option node :=
  match v with O => None | S k => nth_error (nodes g) k end.

Definition size (g : graph) (v : nat) : nat :=
  match v with
  | O => input g
  | S _ => match node_at g v with Some nd => made (map_of nd) | None => O end
  end.

(** ** What is stated *)

(** ||A||^2 <= squared for the linear map of a value; without evidence, of every single row. *)
Record norm := Norm { value : nat; squared : Q; shown_by : option evidence }.

Inductive rule := ByNorm (n : nat) | ByBlock (n : nat) | ByPointwise | BySum.
Record step := Step { to : nat; rule_of : rule; upper : Q }.

(** The constant from the value [start] to the value [stop] is at most [bound]: from l2 to l2, or of [each] output. *)
Record region := Region { start : nat; stop : nat; each : bool; steps : list step; bound : Q }.

(** ** The check *)

Definition norm_holds (g : graph) (n : norm) : bool :=
  match node_at g (value n) with
  | Some (Node (Linear l) _) =>
      match shown_by n with Some e => proves l e (squared n) | None => rows_prove l (squared n) end
  | _ => false
  end.

(** Whether the maps of two values are adjoint to each other: entry by entry. *)
Definition adjoint_holds (g : graph) (outer inner : nat) : bool :=
  match node_at g outer, node_at g inner with
  | Some (Node (Linear a) _), Some (Node (Linear b) _) =>
      (rows a =? columns b) && (columns a =? rows b) && (scale a =? scale b)%Z &&
      all_below (rows b) (fun i => all_below (columns b) (fun j => (entry a j i =? entry b i j)%Z))
  | _, _ => false
  end.

(** m 2^e. *)
Definition dyadic (m e : Z) : Q := if (e <=? 0)%Z then m # Z.to_pos (2 ^ (- e)) else inject_Z (m * 2 ^ e).

(** The number that a map multiplies every entry by. *)
Definition scalar_of (l : linear) : option Q :=
  match l with
  | Scaling n factor =>
      if all_below n (fun i => (mantissa factor i =? mantissa factor 0)%Z)
      then Some (dyadic (mantissa factor 0) (exponent factor)) else None
  | Copying out inner source =>
      if (out =? inner) && all_below out (fun i => match source i with Some k => k =? i | None => false end)
      then Some (1 # 1) else None
  | _ => None
  end.

(** v = c w for some value w before it: the factors between, at most [fuel]. *)
Fixpoint without_scalars (fuel : nat) (g : graph) (begin v : nat) : Q * nat :=
  match fuel, node_at g v with
  | S less, Some (Node (Linear l) [r]) =>
      match scalar_of l with
      | Some c =>
          if (v =? begin) || negb (columns l =? size g r) then (1 # 1, v)
          else let (d, w) := without_scalars less g begin r in (c * d, w)%Q
      | None => (1 # 1, v)
      end
  | _, _ => (1 # 1, v)
  end.

Definition lower_of (a b : Q) : Q := if Qle_bool a b then a else b.
Definition upper_of (a b : Q) : Q := if Qle_bool a b then b else a.

Section Region.
  Variables (g : graph) (facts : list (norm * bool)) (pairs : list (nat * nat)) (begin : nat).

  Definition fact (i : nat) : option norm :=
    match nth_error facts i with Some (n, true) => Some n | _ => None end.

  Definition is_pair (outer inner : nat) : bool :=
    existsb (fun p => (fst p =? outer) && (snd p =? inner)) pairs.

  (** The constant of skip + c A^T sigma(A skip + b), A the map whose norm is given. *)
  Definition block_constant (n : norm) (skip branch : nat) (plus : bool) : option Q :=
    let (c, o) := without_scalars 8 g begin branch in
    match node_at g o with
    | Some (Node (Linear outer) [a]) =>
        let (d, p) := without_scalars 8 g begin a in
        match node_at g p, node_at g (value n), shown_by n with
        | Some (Node (Pointwise sigma low high k) [q]), Some (Node (Linear inner) [r]), Some _ =>
            if (q =? value n) && (r =? skip) && is_pair o (value n)
              && negb (o =? begin) && negb (p =? begin) && negb (value n =? begin)
              && (size g skip =? columns inner) && (k =? rows inner)
              && Qle_bool low (fst (known_slopes sigma)) && Qle_bool (snd (known_slopes sigma)) high
              && Qle_bool 0 (squared n)
            then
              let f := ((if plus then 1 # 1 else -1 # 1) * (c * d) * squared n)%Q in
              let least := lower_of 0 (lower_of (f * low) (f * high)) in
              let most := upper_of 0 (upper_of (f * low) (f * high)) in
              Some (upper_of (1 + most) (- (1) - least))
            else None
        | _, _, _ => None
        end
    | _ => None
    end.

  Definition state : Type := list (nat * Q) * list (nat * Q).  (* bounds in l2, and of each entry *)

  Definition known (v : nat) (l : list (nat * Q)) : option Q :=
    match find (fun p => fst p =? v) l with Some p => Some (snd p) | None => None end.

  (** The sum of the bounds of some values, all of n entries. *)
  Fixpoint known_sum (n : nat) (vs : list nat) (l : list (nat * Q)) : option Q :=
    match vs with
    | [] => Some 0%Q
    | v :: rest =>
        match known v l, known_sum n rest l with
        | Some b, Some c => if size g v =? n then Some (b + c)%Q else None
        | _, _ => None
        end
    end.

  Definition steepest (low high : Q) : Q := upper_of (upper_of low (- low)) (upper_of high (- high)).

  Definition in_l2 (holds : bool) (v : nat) (u : Q) (s : state) : option state :=
    if holds then Some ((v, u) :: fst s, snd s) else None.
  Definition in_each (holds : bool) (v : nat) (u : Q) (s : state) : option state :=
    if holds then Some (fst s, (v, u) :: snd s) else None.

  Definition take (p : step) (s : state) : option state :=
    let v := to p in
    let u := upper p in
    if (v =? begin) || negb (Qle_bool 0 u) then None else
    match node_at g v, rule_of p with
    | Some (Node (Linear l) [r]), ByNorm i =>
        match fact i with
        | Some n =>
            if negb ((value n =? v) && (columns l =? size g r)) then None else
            match shown_by n, known r (fst s), known r (snd s), l with
            | Some _, Some b, _, _ => in_l2 (Qle_bool (squared n * (b * b)) (u * u)) v u s
            | None, Some b, _, _ => in_each (Qle_bool (squared n * (b * b)) (u * u)) v u s
            | Some _, None, Some b, Copying _ _ _ => in_each (Qle_bool b u) v u s
            | _, _, _, _ => None
            end
        | None => None
        end
    | Some (Node (Pointwise sigma low high n) [r]), ByPointwise =>
        if negb ((n =? size g r) && Qle_bool low (fst (known_slopes sigma)) && Qle_bool (snd (known_slopes sigma)) high)
        then None else
        match known r (fst s), known r (snd s) with
        | Some b, _ => in_l2 (Qle_bool (steepest low high * b) u) v u s
        | None, Some b => in_each (Qle_bool (steepest low high * b) u) v u s
        | None, None => None
        end
    | Some (Node (Sum signs n) vs), BySum =>
        match known_sum n vs (fst s) with
        | Some b => in_l2 ((length signs =? length vs) && Qle_bool b u) v u s
        | None => None
        end
    | Some (Node (Sum [plus; plus'] n) [a; b]), ByBlock i =>
        match fact i with
        | Some m =>
            let try_one skip branch sign :=
              match block_constant m skip branch sign, known skip (fst s) with
              | Some k, Some c => (n =? size g skip) && (size g branch =? n) && Qle_bool (k * c) u
              | _, _ => false
              end in
            in_l2 ((plus && try_one a b plus') || (plus' && try_one b a plus)) v u s
        | None => None
        end
    | _, _ => None
    end.

  Fixpoint take_all (ps : list step) (s : state) : option state :=
    match ps with
    | [] => Some s
    | p :: rest => match take p s with Some t => take_all rest t | None => None end
    end.
End Region.

Definition region_holds (g : graph) (facts : list (norm * bool)) (pairs : list (nat * nat)) (r : region) : bool :=
  match take_all g facts pairs (start r) (steps r) ([(start r, 1%Q)], []) with
  | Some (l2, linf) =>
      match (if each r then known (stop r) linf else None), known (stop r) l2 with
      | Some b, _ | None, Some b => Qle_bool b (bound r)
      | None, None => false
      end
  | None => false
  end.

(** Which norms hold, which pairs of values have adjoint maps, which regions hold. *)
Definition check (g : graph) (norms : list norm) (pairs : list (nat * nat)) (regions : list region)
  : list bool * list bool :=
  let facts := List.map (fun n => (n, norm_holds g n)) norms in
  let adjoint := filter (fun p => adjoint_holds g (fst p) (snd p)) pairs in
  (List.map snd facts, List.map (region_holds g facts adjoint) regions).
